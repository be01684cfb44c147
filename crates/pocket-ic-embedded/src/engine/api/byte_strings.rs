//! Functions that pass byte strings to the canister, in pairs `*_size` and `*_copy`, and the other functions about
//! environment variables (their number, and whether a name exists).

use wasmtime::Result;

use super::definer::Definer;
use crate::engine::DataCertificate;
use crate::engine::host::{ApiCaller, Message, Word, copy_text_from_heap, copy_to_heap, enter, violation};

pub(super) fn define<W: Word>(d: &mut Definer<'_>) -> Result<()> {
    define_size_and_copy::<W>(d, "msg_arg_data_size", "msg_arg_data_copy", |m| Ok(&m.ctx.arg))?;
    define_size_and_copy::<W>(d, "msg_caller_size", "msg_caller_copy", |m| Ok(m.ctx.caller.as_slice()))?;
    define_size_and_copy::<W>(d, "msg_caller_info_data_size", "msg_caller_info_data_copy", |m| {
        Ok(&m.ctx.caller_info.data)
    })?;
    define_size_and_copy::<W>(d, "msg_caller_info_signer_size", "msg_caller_info_signer_copy", |m| {
        Ok(&m.ctx.caller_info.signer)
    })?;
    define_size_and_copy::<W>(d, "msg_reject_msg_size", "msg_reject_msg_copy", |m| {
        match m.ctx.reject_code {
            0 => Err(violation("ic0_msg_reject_msg: there is no reject message")),
            _ => Ok(m.ctx.reject_message.as_bytes()),
        }
    })?;
    define_size_and_copy::<W>(d, "msg_method_name_size", "msg_method_name_copy", |m| {
        Ok(m.ctx.method.as_bytes())
    })?;
    define_size_and_copy::<W>(d, "canister_self_size", "canister_self_copy", |m| {
        Ok(m.ctx.canister_id.as_slice())
    })?;
    define_size_and_copy::<W>(d, "subnet_self_size", "subnet_self_copy", |m| Ok(m.ctx.subnet_id.as_slice()))?;
    define_size_and_copy::<W>(d, "root_key_size", "root_key_copy", |m| Ok(m.ctx.root_key))?;
    define_size_and_copy::<W>(d, "data_certificate_size", "data_certificate_copy", |m| {
        m.ctx
            .data_certificate
            .as_ref()
            .map(DataCertificate::bytes)
            .ok_or_else(|| violation("ic0_data_certificate: there is no data certificate"))
    })?;
    define_environment::<W>(d)
}

/// Defines the functions that return the size of one byte string and copy a part of it to the heap.
fn define_size_and_copy<W: Word>(
    d: &mut Definer<'_>,
    size_name: &'static str,
    copy_name: &'static str,
    get: fn(&Message) -> Result<&[u8]>,
) -> Result<()> {
    let (size_api, copy_api) = (d.api(size_name)?, d.api(copy_name)?);
    d.func(size_api, move |mut c: ApiCaller<'_>| -> Result<W> {
        enter(&mut c, size_api)?;
        Ok(W::from_u64(get(&c.data().message)?.len() as u64))
    })?;
    d.func(copy_api, move |mut c: ApiCaller<'_>, dst: W, offset: W, len: W| -> Result<()> {
        enter(&mut c, copy_api)?;
        copy_to_heap(&mut c, copy_api, (dst.into_u64(), offset.into_u64(), len.into_u64()), get)
    })
}

fn define_environment<W: Word>(d: &mut Definer<'_>) -> Result<()> {
    // The name of variable number `index`; an error if there are fewer variables.
    fn name_at(m: &Message, index: u64) -> Result<&str> {
        let variables = &m.ctx.environment;
        usize::try_from(index)
            .ok()
            .and_then(|index| variables.get(index))
            .map(|(name, _)| name.as_str())
            .ok_or_else(|| {
                violation(format!(
                    "ic0_env_var_name: there is no index {index} among {} environment variables",
                    variables.len()
                ))
            })
    }
    fn find_variable<'m>(m: &'m Message, name: &str) -> Option<&'m str> {
        let mut variables = m.ctx.environment.iter();
        variables.find(|(known, _)| known == name).map(|(_, v)| v.as_str())
    }
    // The value of a variable; an error if there is none. `env_var_name_exists` asks `find_variable` instead.
    fn variable_or_error<'m>(m: &'m Message, name: &str) -> Result<&'m str> {
        find_variable(m, name)
            .ok_or_else(|| violation(format!("ic0_env_var_value: there is no environment variable {name:?}")))
    }

    d.getter("env_var_count", |host| W::from_u64(host.message.ctx.environment.len() as u64))?;
    let api = d.api("env_var_name_size")?;
    d.func(api, move |mut c: ApiCaller<'_>, index: W| -> Result<W> {
        enter(&mut c, api)?;
        Ok(W::from_u64(name_at(&c.data().message, index.into_u64())?.len() as u64))
    })?;
    let api = d.api("env_var_name_copy")?;
    d.func(api, move |mut c: ApiCaller<'_>, index: W, dst: W, offset: W, len: W| -> Result<()> {
        enter(&mut c, api)?;
        copy_to_heap(&mut c, api, (dst.into_u64(), offset.into_u64(), len.into_u64()), |m| {
            name_at(m, index.into_u64()).map(str::as_bytes)
        })
    })?;
    let api = d.api("env_var_name_exists")?;
    d.func(api, move |mut c: ApiCaller<'_>, src: W, len: W| -> Result<u32> {
        enter(&mut c, api)?;
        let name = copy_text_from_heap(&mut c, api, src.into_u64(), len.into_u64())?;
        Ok(find_variable(&c.data().message, &name).is_some().into())
    })?;
    let api = d.api("env_var_value_size")?;
    d.func(api, move |mut c: ApiCaller<'_>, src: W, len: W| -> Result<W> {
        enter(&mut c, api)?;
        let name = copy_text_from_heap(&mut c, api, src.into_u64(), len.into_u64())?;
        Ok(W::from_u64(variable_or_error(&c.data().message, &name)?.len() as u64))
    })?;
    let api = d.api("env_var_value_copy")?;
    d.func(api, move |mut c: ApiCaller<'_>, src: W, name_len: W, dst: W, offset: W, len: W| -> Result<()> {
        enter(&mut c, api)?;
        let name = copy_text_from_heap(&mut c, api, src.into_u64(), name_len.into_u64())?;
        copy_to_heap(&mut c, api, (dst.into_u64(), offset.into_u64(), len.into_u64()), |m| {
            variable_or_error(m, &name).map(str::as_bytes)
        })
    })
}
