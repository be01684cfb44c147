//! Macros that make a function an entry point of the canister.
//!
//! The CDK's own macros trap if the arguments do not decode, and write the type table of every reply again. With the
//! macros of this file, a call whose arguments do not decode is answered with an error, and the Candid headers, which
//! contain the type tables, are cached.

use std::marker::PhantomData;

use candid::CandidType;
use candid::types::{Serializer, Type, TypeId};
use serde::ser::Error as _;

use super::app::report;
use super::streams;
use crate::api::{BuildInfo, Error, HttpResponse, Result, StreamingBody, UploadConfig};

/// `#[apply(update)]` makes a function an update call of the interface under its name.
macro_rules! update {
    ($($function:tt)+) => { $crate::canister::entry::entry! { update $($function)+ } };
}
pub(super) use update;

/// `#[apply(query)]` makes a function a query of the interface under its name.
macro_rules! query {
    ($($function:tt)+) => { $crate::canister::entry::entry! { query $($function)+ } };
}
pub(super) use query;

/// Defines the function, registers it for the Candid interface, and defines the export that the IC calls. The export
/// has the same name as the function, and is therefore in a block of its own. If the function has no arguments, the
/// argument data of the message is ignored.
macro_rules! entry {
    (
        $kind:ident $(#[$attribute:meta])*
        fn $name:ident($($arg:ident: $type:ty),* $(,)?) -> $reply:ty $body:block
    ) => {
        $(#[$attribute])*
        #[candid::candid_method($kind)]
        fn $name($($arg: $type),*) -> $reply $body

        const _: () = {
            #[ic_cdk::$kind(hidden = true, manual_reply = true)]
            fn $name() {
                $crate::canister::entry::entry!(@run $kind $name($($arg: $type),*) -> $reply)
            }
        };

        /// Candid headers of the function's arguments and reply.
        pub(super) mod $name {
            #[allow(unused_imports, reason = "the types of the function")]
            use super::*;

            pub fn cache_candid_headers() -> std::result::Result<(), candid::Error> {
                $crate::canister::entry::entry!(@cache_arguments $name($($type),*));
                $crate::canister::candid_headers::reply_header::<$reply>().map(|_| ())
            }
        }
    };
    (@cache_arguments $name:ident()) => {};
    (@cache_arguments $name:ident($($type:ty),+)) => {
        $crate::canister::arguments::cache_candid_header::<($($type,)+)>(stringify!($name))?;
    };
    (@run $kind:ident $name:ident() -> $reply:ty) => {{
        $crate::canister::entry::entry!(@begin $kind);
        $crate::canister::entry::entry!(@end $kind $name self::$name())
    }};
    (@run $kind:ident $name:ident($($arg:ident: $type:ty),+) -> $reply:ty) => {{
        $crate::canister::entry::entry!(@begin $kind);
        let message = ic_cdk::api::msg_arg_data();
        match $crate::canister::arguments::decode::<($($type,)+)>(stringify!($name), &message) {
            Ok(($($arg,)+)) => $crate::canister::entry::entry!(@end $kind $name self::$name($($arg),+)),
            Err(error) => <$reply as $crate::canister::entry::Refuse>::refuse(error),
        }
    }};
    (@begin update) => { $crate::canister::timers::restart_overdue() };
    (@begin query) => {};
    (@end update $name:ident $call:expr) => {{
        let reply = $call;
        $crate::canister::entry::report_internal_error(stringify!($name), &reply);
        $crate::canister::entry::Reply::send(&reply)
    }};
    (@end query $name:ident $call:expr) => { $crate::canister::entry::Reply::send(&$call) };
}
pub(super) use entry;

/// Caches the Candid headers of the given entry points.
macro_rules! cache_candid_headers {
    ($($function:ident),* $(,)?) => {{
        $($function::cache_candid_headers()?;)*
        Ok(())
    }};
}
pub(super) use cache_candid_headers;

/// Return type of an entry point.
pub trait Reply {
    /// Replies to the current message with this value.
    fn send(&self);
}

/// Return type of an entry point whose arguments may fail to decode.
pub trait Refuse {
    /// Replies to the current message, or rejects it, because of this error.
    fn refuse(error: Error);
}

/// Stores an internal error for `admin_errors`, since only controllers can do anything about it. Only updates report
/// errors: what a query stores is lost.
pub fn report_internal_error<T>(function: &str, reply: &Result<T>) {
    if let Err(Error::Internal(error)) = reply {
        report(function, error);
    }
}

impl<T: CandidType> Reply for Result<T> {
    fn send(&self) {
        streams::reply(self);
    }
}

impl<T: CandidType> Refuse for Result<T> {
    fn refuse(error: Error) {
        Self::Err(error).send();
    }
}

/// Return type of a function that sends its reply itself instead of returning a `T`.
pub struct Replied<T>(PhantomData<T>);

impl<T> Replied<T> {
    /// Returns the value for a function that has sent its reply.
    pub const fn already() -> Self {
        Self(PhantomData)
    }
}

impl<T: CandidType> CandidType for Replied<T> {
    fn id() -> TypeId {
        T::id()
    }

    fn _ty() -> Type {
        T::_ty()
    }

    fn idl_serialize<S: Serializer>(&self, _: S) -> std::result::Result<(), S::Error> {
        Err(S::Error::custom("the reply has been sent"))
    }
}

impl<T> Reply for Replied<T> {
    fn send(&self) {}
}

impl<T: Refuse> Refuse for Replied<T> {
    fn refuse(error: Error) {
        T::refuse(error);
    }
}

/// For return types that are sent as they are, and do not carry an [`Error`].
macro_rules! replies {
    ($($reply:ty),*) => {$(
        impl Reply for $reply {
            fn send(&self) {
                streams::reply(self);
            }
        }
    )*};
}

replies!(BuildInfo, HttpResponse, UploadConfig);

impl Refuse for HttpResponse {
    fn refuse(error: Error) {
        Self::text(400, error.to_string()).send();
    }
}

/// The type has no variant for an error, so the call is rejected.
impl Refuse for StreamingBody {
    fn refuse(error: Error) {
        ic_cdk::api::msg_reject(error.to_string());
    }
}
