//! The logic of the asset canister, outside of a canister: reads a method and its Candid arguments in hexadecimal from
//! each line of standard input, and writes `ok` and the reply in hexadecimal, or `err` and the text that the canister
//! traps with.

use candid::{CandidType, Decode, Encode};
use ic_certified_assets::state_machine::State;
use ic_certified_assets::types::*;

fn reply<T: CandidType>(value: Result<T, String>) -> Result<Vec<u8>, String> {
    value.map(|value| Encode!(&value).unwrap())
}

fn none(value: Result<(), String>) -> Result<Vec<u8>, String> {
    value.map(|()| Encode!().unwrap())
}

fn main() {
    let (mut state, now) = (State::default(), 1_700_000_000_000_000_000);
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let (method, arg) = line.split_once(' ').unwrap();
        let arg = hex::decode(arg).unwrap();
        let outcome = match method {
            "create_batch" => reply(state.create_batch(now).map(|batch_id| CreateBatchResponse { batch_id })),
            "create_chunk" => {
                let arg = Decode!(&arg, CreateChunkArg).unwrap();
                reply(state.create_chunk(arg, now).map(|chunk_id| CreateChunkResponse { chunk_id }))
            }
            "commit_batch" => none(state.commit_batch(Decode!(&arg, CommitBatchArguments).unwrap(), now)),
            "store" => none(state.store(Decode!(&arg, StoreArg).unwrap(), now)),
            "get" => reply(state.get(Decode!(&arg, GetArg).unwrap())),
            "get_asset_properties" => reply(state.get_asset_properties(Decode!(&arg, String).unwrap())),
            _ => panic!("{method} is not needed"),
        };
        match outcome {
            Ok(reply) => println!("ok {}", hex::encode(reply)),
            Err(text) => println!("err {text}"),
        }
    }
}
