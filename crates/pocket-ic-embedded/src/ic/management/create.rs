//! The methods that create canisters, those that add cycles, and `raw_rand`.

use super::{ManagementCall, Reply, empty_reply, encode_reply};
use crate::ic::canister::Canister;
use crate::ic::error::UserError;
use crate::ic::instance::Instance;
use crate::ic::records::change_origin;
use crate::ic::settings::Settings;
use crate::ic::subnet;
use candid::Principal;
use ic_management_canister_types::{
    CanisterIdRecord, CanisterSettings, ChangeDetails, CreateCanisterArgs, CreationRecord,
    ProvisionalCreateCanisterWithCyclesArgs, ProvisionalTopUpCanisterArgs,
};
use num_traits::ToPrimitive;
use pocket_ic::ErrorCode;
use sha2::{Digest, Sha256};

/// Cycles of a provisional canister if the caller specifies no amount.
const DEFAULT_CYCLES: u128 = 100_000_000_000_000;

/// `provisional_create_canister_with_cycles`
pub(super) fn provisional_create(
    instance: &mut Instance,
    call: &mut ManagementCall,
) -> Result<Reply, UserError> {
    let args: ProvisionalCreateCanisterWithCyclesArgs = call.decode()?;
    let cycles = match args.amount {
        Some(amount) => parse_cycles(call.method, &amount)?,
        None => DEFAULT_CYCLES,
    };
    if let Some(id) = args.specified_id
        && instance.canisters.contains_key(&id)
    {
        return Err(UserError::new(
            ErrorCode::CanisterAlreadyInstalled,
            format!("Canister {id} is already installed."),
        ));
    }
    create_with(instance, call, args.settings, args.specified_id, cycles, args.sender_canister_version)
}

/// `create_canister`: the attached cycles become the new canister's balance; there is no fee.
pub(super) fn create(instance: &mut Instance, call: &mut ManagementCall) -> Result<Reply, UserError> {
    let args: CreateCanisterArgs = call.decode()?;
    let cycles = call.cycles;
    let reply = create_with(instance, call, args.settings, None, cycles, args.sender_canister_version)?;
    call.cycles = 0;
    Ok(reply)
}

/// Creates a canister with this balance; `specified` is the id that the caller wants.
fn create_with(
    instance: &mut Instance,
    call: &ManagementCall,
    settings: Option<CanisterSettings>,
    specified: Option<Principal>,
    cycles: u128,
    sender_version: Option<u64>,
) -> Result<Reply, UserError> {
    let settings = Settings::new(call.caller.id).with(settings.unwrap_or_default())?;
    let subnet = choose_subnet(instance, call, specified)?;
    let canisters = &instance.canisters;
    let Some(subnet) = instance.subnets.iter_mut().find(|s| s.id == subnet) else {
        return Err(no_subnet(subnet));
    };
    let id = match specified {
        Some(id) => id,
        None => subnet.allocate(|id| canisters.contains_key(&id)).ok_or_else(|| {
            UserError::new(
                ErrorCode::SubnetOversubscribed,
                format!("Subnet {} has no canister ids left.", subnet.id),
            )
        })?,
    };
    let mut canister = Canister::new(id, subnet, settings, cycles, call.now);
    let environment = &canister.settings.environment_variables;
    let details = ChangeDetails::Creation(CreationRecord {
        controllers: canister.settings.controllers.clone(),
        environment_variables_hash: (!environment.is_empty())
            .then(|| canister.settings.environment_hash().to_vec()),
    });
    let origin = change_origin(call.caller.id, call.caller.is_canister, sender_version);
    canister.history.push(call.now, 0, origin, details);
    instance.canisters.insert(id, canister);
    encode_reply(call.method, (CanisterIdRecord { canister_id: id },)).map(Reply::Now)
}

/// Returns the subnet for a new canister: the owner of the specified id, otherwise the subnet to which the call was
/// sent, otherwise the subnet of the calling canister, otherwise the default subnet.
fn choose_subnet(
    instance: &Instance,
    call: &ManagementCall,
    specified: Option<Principal>,
) -> Result<Principal, UserError> {
    if let Some(id) = specified {
        return instance
            .route(id)
            .map(|subnet| subnet.id)
            .map_err(|error| UserError::new(ErrorCode::CanisterNotHostedBySubnet, error.to_string()));
    }
    if let Some(subnet) = call.subnet {
        return Ok(subnet);
    }
    instance
        .subnet_of_canister(call.caller.id)
        .or_else(|| subnet::default_subnet(&instance.subnets).map(|subnet| subnet.id))
        .ok_or_else(|| no_subnet(call.caller.id))
}

/// The error if no subnet is found; `id` is the subnet or the caller for which one was sought.
fn no_subnet(id: Principal) -> UserError {
    UserError::new(ErrorCode::SubnetNotFound, format!("There is no subnet for {id}."))
}

fn parse_cycles(method: &str, amount: &candid::Nat) -> Result<u128, UserError> {
    amount.0.to_u128().ok_or_else(|| {
        UserError::invalid_payload(method, format!("{amount} cycles are more than a balance holds"))
    })
}

/// `provisional_top_up_canister`
pub(super) fn provisional_top_up(
    instance: &mut Instance,
    call: &mut ManagementCall,
) -> Result<Reply, UserError> {
    let args: ProvisionalTopUpCanisterArgs = call.decode()?;
    let amount = parse_cycles(call.method, &args.amount)?;
    add_cycles(instance, args.canister_id, amount)
}

/// `deposit_cycles`: adds the attached cycles to a canister's balance.
pub(super) fn deposit_cycles(instance: &mut Instance, call: &mut ManagementCall) -> Result<Reply, UserError> {
    let args: CanisterIdRecord = call.decode()?;
    let reply = add_cycles(instance, args.canister_id, call.cycles)?;
    call.cycles = 0;
    Ok(reply)
}

fn add_cycles(instance: &mut Instance, id: Principal, amount: u128) -> Result<Reply, UserError> {
    let canister = instance.canisters.get_mut(&id).ok_or_else(|| UserError::canister_not_found(id))?;
    canister.cycles = canister.cycles.saturating_add(amount);
    Ok(Reply::Now(empty_reply()))
}

/// `raw_rand`, which is answered at the beginning of the next round.
pub(super) fn raw_rand(instance: &mut Instance, call: &mut ManagementCall) -> Result<Reply, UserError> {
    instance.raw_rand_calls.push((call.origin.clone(), call.cycles));
    Ok(Reply::Later)
}

impl Instance {
    /// Answers the `raw_rand` calls of earlier rounds with 32 bytes each, derived from a counter and the time, so that
    /// tests are reproducible.
    pub(in crate::ic) fn answer_raw_rand(&mut self, now: u64) {
        for (origin, cycles) in std::mem::take(&mut self.raw_rand_calls) {
            self.random_draws += 1;
            let mut hasher = Sha256::new();
            hasher.update(b"embedded raw_rand ");
            hasher.update(self.random_draws.to_be_bytes());
            hasher.update(now.to_be_bytes());
            let bytes: [u8; 32] = hasher.finalize().into();
            self.respond(origin, encode_reply("raw_rand", (bytes.to_vec(),)), cycles);
        }
    }
}
