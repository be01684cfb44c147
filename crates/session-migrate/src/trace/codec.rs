//! Converts between the bytes of a message and the text of a trace.

use candid::CandidType;
use candid::types::value::{IDLArgs, IDLValue};
use candid_parser::parse_idl_args;
use pocket_ic::RejectResponse;

use super::payload::{PayloadRef, Seeds};
use super::value::Times;
use super::{Arguments, Ids, Interface, TraceError, TracedAnswer, value};

/// Maximum length of a raw message that is written into the trace, bytes. Longer ones are referred to by their digest.
const RAW_INLINE_BYTES: usize = 256;

/// Why the arguments of a traced call cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The arguments contain the name of an id that this canister has not issued.
    #[error("the arguments contain {0}, an id that no reply of the canister has contained")]
    UnknownName(String),
    /// The text cannot be encoded as arguments of the method.
    #[error("arguments of {method}: {detail}")]
    Arguments {
        /// The method.
        method: String,
        /// The reason.
        detail: String,
    },
    /// The payload of the arguments is not available.
    #[error(transparent)]
    Trace(#[from] TraceError),
}

/// Converts the messages of one canister, and learns from its replies the ids that it issues.
#[derive(Clone, Debug)]
pub struct Codec {
    interface: Interface,
    ids: Ids,
    times: Times,
}

impl Codec {
    /// Creates the codec of a trace that begins at `start`, nanoseconds since 1970.
    pub fn new(start: u64) -> Result<Codec, TraceError> {
        Ok(Codec {
            interface: Interface::upload_canister()?,
            ids: Ids::default(),
            times: Times { start, are_shown: true },
        })
    }

    /// Returns when the trace begins, nanoseconds since 1970.
    pub fn start(&self) -> u64 {
        self.times.start
    }

    /// From here on, replies show no times, since the clock advances automatically.
    pub fn clock_runs(&mut self) {
        self.times.are_shown = false;
    }

    /// Returns the text of encoded arguments, and the payloads that must be stored, since the text refers to them.
    pub fn arguments(&self, method: &str, arg: &[u8], seeds: &Seeds) -> (Arguments, Vec<Vec<u8>>) {
        match self.candid_arguments(method, arg, seeds) {
            Some(shown) => shown,
            None if arg.len() <= RAW_INLINE_BYTES => (Arguments::Raw(hex::encode(arg)), Vec::new()),
            None => (Arguments::Raw(PayloadRef::of(arg).to_string()), vec![arg.to_vec()]),
        }
    }

    /// Returns arguments as Candid text, and the payloads; `None` if encoding this text would not result in the same
    /// values.
    fn candid_arguments(&self, method: &str, arg: &[u8], seeds: &Seeds) -> Option<(Arguments, Vec<Vec<u8>>)> {
        let sent = self.interface.decode(arg)?;
        let mut payloads = Vec::new();
        let mut shown = Vec::with_capacity(sent.args.len());
        for (position, argument) in sent.args.iter().enumerate() {
            let place = (method, position);
            shown.push(value::shown_argument(place, argument.clone(), &self.ids, seeds, &mut payloads));
        }
        let text = one_line(&IDLArgs { args: shown });
        let mut payload = |reference: &_| available_payload(reference, arg.len(), &payloads);
        let reparsed = self.parse(method, &text, &mut payload).ok()?;
        let encoded_again = self.interface.encode(method, reparsed).ok()?;
        // Only the values are compared: their type tables may differ.
        (self.interface.decode(&encoded_again)? == sent).then_some((Arguments::Candid(text), payloads))
    }

    /// Parses arguments of a trace, with the ids of this canister in place of names.
    fn parse(
        &self,
        method: &str,
        text: &str,
        payload: &mut dyn FnMut(&PayloadRef) -> Result<Vec<u8>, CodecError>,
    ) -> Result<IDLArgs, CodecError> {
        let parsed = parse_idl_args(text)
            .map_err(|error| CodecError::Arguments { method: method.into(), detail: error.to_string() })?;
        let args = parsed
            .args
            .into_iter()
            .map(|argument| value::sent_argument(argument, &self.ids, CodecError::UnknownName, payload))
            .collect::<Result<_, _>>()?;
        Ok(IDLArgs { args })
    }

    /// Encodes the arguments of a traced call, with the ids that this canister has issued. `payload` returns
    /// the bytes of a reference.
    pub fn encode(
        &self,
        method: &str,
        arguments: &Arguments,
        payload: &mut dyn FnMut(&PayloadRef) -> Result<Vec<u8>, CodecError>,
    ) -> Result<Vec<u8>, CodecError> {
        let arguments_error = |detail: String| CodecError::Arguments { method: method.into(), detail };
        match arguments {
            Arguments::Candid(text) => {
                let args = self.parse(method, text, payload)?;
                self.interface.encode(method, args).map_err(arguments_error)
            }
            Arguments::Raw(text) => match PayloadRef::parse(text) {
                Some(reference) => payload(&reference),
                None => hex::decode(text).map_err(|error| arguments_error(error.to_string())),
            },
        }
    }

    /// Returns the name of a session; a new session gets a name.
    pub fn session_name(&mut self, session: u64) -> String {
        self.ids.learn_session(session)
    }

    /// Replaces the ids in a text by names; new ids get names.
    pub fn name_ids(&mut self, text: &str) -> String {
        self.ids.learn_text(text)
    }

    /// Returns the text of a value, as in a reply.
    pub fn show(&mut self, value: &impl CandidType) -> Result<String, String> {
        let value = IDLValue::try_from_candid_type(value).map_err(|error| error.to_string())?;
        let shown = value::shown_reply("", value, &mut self.ids, self.times);
        Ok(one_line(&IDLArgs { args: vec![shown] }))
    }

    /// Returns the text of a reply. Ids that appear for the first time get names.
    pub fn reply(&mut self, method: &str, reply: &[u8]) -> TracedAnswer {
        match self.interface.decode(reply) {
            Some(values) => {
                let times = self.times;
                let shown = |value| value::shown_reply(method, value, &mut self.ids, times);
                TracedAnswer::Reply(one_line(&IDLArgs { args: values.args.into_iter().map(shown).collect() }))
            }
            None if reply.len() <= RAW_INLINE_BYTES => TracedAnswer::Raw(hex::encode(reply)),
            None => TracedAnswer::Raw(PayloadRef::of(reply).to_string()),
        }
    }

    /// Returns the text of an answer.
    pub fn answer(&mut self, method: &str, answer: Result<&[u8], &RejectResponse>) -> TracedAnswer {
        match answer {
            Ok(reply) => self.reply(method, reply),
            Err(reject) => TracedAnswer::from(reject),
        }
    }
}

/// Returns the bytes of a reference in arguments of `size` bytes. If a text looks like a reference to more bytes, it is
/// a client's text, and an error is returned.
fn available_payload(
    reference: &PayloadRef,
    size: usize,
    payloads: &[Vec<u8>],
) -> Result<Vec<u8>, CodecError> {
    let found = match reference {
        PayloadRef::Seed { seed, offset, length } => {
            let length = usize::try_from(*length).ok().filter(|length| *length <= size);
            length.map(|length| super::seeded(*seed, *offset, length))
        }
        PayloadRef::Sha256 { .. } => {
            payloads.iter().find(|bytes| PayloadRef::of(bytes) == *reference).cloned()
        }
    };
    found.ok_or_else(|| CodecError::UnknownName(reference.to_string()))
}

/// Formats Candid values in one line: their debug format, unlike their display format, does not break lines.
fn one_line(args: &IDLArgs) -> String {
    if args.args.is_empty() { "()".into() } else { format!("{args:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candid::{Encode, Principal};
    use serde_bytes::ByteBuf;
    use upload_canister::api::{AssetMetadata, AssetMetadataBase, AssetType, Error, Result as Reply};

    fn codec() -> Codec {
        Codec::new(1_000_000_000).unwrap()
    }

    fn text(arguments: &Arguments) -> &str {
        match arguments {
            Arguments::Candid(text) | Arguments::Raw(text) => text,
        }
    }

    fn no_payload(reference: &PayloadRef) -> Result<Vec<u8>, CodecError> {
        available_payload(reference, 2 << 20, &[])
    }

    #[test]
    fn arguments_are_text_that_gives_the_same_bytes() {
        let codec = codec();
        let base = AssetMetadataBase::new("a \"b\".bin\n", "text/plain", AssetType::Preview, 5, 7);
        let metadata = AssetMetadata::document(base);
        let arg =
            Encode!(&"capsule_1", &metadata, &1u32, &"key", &None::<upload_canister::api::HashAlgorithm>)
                .unwrap();
        let (arguments, payloads) = codec.arguments("uploads_begin", &arg, &Seeds::default());
        assert!(matches!(arguments, Arguments::Candid(_)), "{arguments:?}");
        assert!(payloads.is_empty() && text(&arguments).contains("asset_type = variant { Preview }"));
        assert_eq!(codec.encode("uploads_begin", &arguments, &mut no_payload).unwrap(), arg);
    }

    #[test]
    fn an_omitted_argument_stays_omitted() {
        let codec = codec();
        let arg = Encode!(&7u64, &0u32, &ByteBuf::from([1, 2, 3])).unwrap();
        let (arguments, _) = codec.arguments("uploads_put_chunk", &arg, &Seeds::default());
        assert_eq!(codec.encode("uploads_put_chunk", &arguments, &mut no_payload).unwrap(), arg);
        let (arguments, _) = codec.arguments("admin_stats", &Encode!().unwrap(), &Seeds::default());
        assert_eq!(arguments, Arguments::Candid("()".into()));
        assert_eq!(codec.encode("admin_stats", &arguments, &mut no_payload).unwrap(), Encode!().unwrap());
    }

    #[test]
    fn payload_is_named_and_not_written_out() {
        let codec = codec();
        let mut seeds = Seeds::default();
        let generated = seeds.generate(5, 1000, 1_800_000);
        let arg = Encode!(&7u64, &0u32, &ByteBuf::from(generated.clone()), &None::<ByteBuf>).unwrap();
        let (arguments, payloads) = codec.arguments("uploads_put_chunk", &arg, &seeds);
        assert!(
            payloads.is_empty() && text(&arguments).contains("\"@seed:5:1000:1800000\""),
            "{arguments:?}"
        );
        assert_eq!(codec.encode("uploads_put_chunk", &arguments, &mut no_payload).unwrap(), arg);

        let (arguments, payloads) = codec.arguments("uploads_put_chunk", &arg, &Seeds::default());
        assert!(payloads == [generated.clone()] && text(&arguments).contains("\"@sha256:"), "{arguments:?}");
        let again = codec.encode("uploads_put_chunk", &arguments, &mut |_| Ok(generated.clone()));
        assert_eq!(again.unwrap(), arg);
    }

    #[test]
    fn ids_are_those_of_the_canister_that_is_called() {
        let begin_reply = |session: u64| Encode!(&Reply::Ok(session)).unwrap();
        let (mut one, mut other) = (codec(), codec());
        assert_eq!(
            one.reply("uploads_begin", &begin_reply(7)),
            TracedAnswer::Reply("(variant { Ok = \"@session:1\" })".into())
        );
        other.reply("uploads_begin", &begin_reply(9));
        let (arguments, _) = one.arguments("uploads_abort", &Encode!(&7u64).unwrap(), &Seeds::default());
        let sent = other.encode("uploads_abort", &arguments, &mut no_payload).unwrap();
        assert_eq!(sent, Encode!(&9u64).unwrap());
        let gone = Encode!(&Reply::<()>::Err(Error::not_found("session", 9))).unwrap();
        let TracedAnswer::Reply(reply_text) = other.reply("uploads_abort", &gone) else {
            panic!("the reply is not Candid")
        };
        assert!(reply_text.contains("key = \"@session:1\""), "{reply_text}");
        let error = codec().encode("uploads_abort", &arguments, &mut no_payload).unwrap_err();
        assert!(matches!(error, CodecError::UnknownName(name) if name == "@session:1"));
    }

    #[test]
    fn arguments_that_would_change_are_kept_raw() {
        let mut codec = codec();
        codec.reply("uploads_begin", &Encode!(&Reply::Ok(7u64)).unwrap());
        // A text that looks like a name of the trace.
        let tricky = Encode!(&"@session:1").unwrap();
        // A text that looks like a reference to a terabyte of payload, and a list with the largest possible number of
        // nulls.
        let large = Encode!(&"@seed:1:0:1000000000000").unwrap();
        let endless = b"DIDL\x01\x6d\x7f\x01\x00\xff\xff\xff\xff\x0f".to_vec();
        for arg in [b"DIDL".to_vec(), b"nonsense".to_vec(), tricky, large, endless, vec![0; 1000]] {
            let (arguments, payloads) = codec.arguments("capsules_read", &arg, &Seeds::default());
            assert!(matches!(arguments, Arguments::Raw(_)), "{arguments:?}");
            let payload = &mut |_: &PayloadRef| Ok(payloads[0].clone());
            assert_eq!(codec.encode("capsules_read", &arguments, payload).unwrap(), arg);
        }
    }

    #[test]
    fn times_count_from_the_start_and_principals_are_text() {
        let mut codec = codec();
        let capsule = upload_canister::api::Capsule {
            id: "capsule_12".into(),
            subject: upload_canister::api::PersonRef::Principal(Principal::anonymous()),
            owners: vec![Principal::anonymous()],
            writers: vec![],
            readers: vec![],
            created_at: 3_000_000_001,
            memory_count: 0,
            is_public: None,
        };
        let reply = Encode!(&Reply::Ok(capsule)).unwrap();
        let TracedAnswer::Reply(reply_text) = codec.reply("capsules_create", &reply) else {
            panic!("the reply is not Candid")
        };
        for part in ["created_at = \"@+2000ms\"", "id = \"@capsule:1\"", "principal \"2vxsx-fae\""] {
            assert!(reply_text.contains(part), "{reply_text}");
        }
        codec.clock_runs();
        let TracedAnswer::Reply(reply_text) = codec.reply("capsules_create", &reply) else {
            panic!("the reply is not Candid")
        };
        assert!(reply_text.contains("created_at = \"@time\""), "{reply_text}");
    }
}
