//! The proxy's own requests to the server; none of them changes an instance.

use std::time::{Duration, Instant};

use candid::Principal;
use pocket_ic::common::rest::{
    RawCanisterCall, RawCanisterId, RawCanisterResult, RawEffectivePrincipal, RawIngressStatusArgs,
    RawMessageId, RawPrincipalId, RawTime,
};
use reqwest::{Client, Method, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use upload_canister::api::BuildInfo;

use super::ProxyError;
use super::protocol::OperationId;

/// Pause between two requests to a busy server, as in PocketIC's own client.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// How long to retry while the server is busy, as in PocketIC's own client.
const BUSY_LIMIT: Duration = Duration::from_secs(300);

#[derive(Clone, Debug)]
pub(super) struct Upstream {
    client: Client,
    url: Url,
}

impl Upstream {
    pub fn new(url: Url) -> Self {
        Upstream { client: Client::new(), url }
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Checks that a PocketIC server answers.
    pub async fn check(&self) -> Result<(), ProxyError> {
        let unreachable = |detail: String| ProxyError::Unreachable { url: self.url.to_string(), detail };
        let answer = self.client.get(self.url_of("status")).send().await;
        match answer.map_err(|error| unreachable(error.to_string()))?.status() {
            StatusCode::OK => Ok(()),
            status => Err(unreachable(format!("it answers {status} to GET /status"))),
        }
    }

    /// Returns the time of an instance, nanoseconds since 1970; `None` if the server does not report it.
    pub async fn time(&self, instance: &str) -> Option<u64> {
        let time: RawTime = self.ask(Method::GET, instance, "read/get_time", &()).await?;
        Some(time.nanos_since_epoch)
    }

    /// Returns whether the time of an instance advances automatically; `false` also if the server does not report it.
    pub async fn clock_runs(&self, instance: &str) -> bool {
        self.ask(Method::GET, instance, "auto_progress", &()).await.unwrap_or(false)
    }

    /// Returns the controllers of a canister; an empty list if the server does not report them.
    pub async fn controllers(&self, instance: &str, canister: Principal) -> Vec<Principal> {
        let canister = RawCanisterId { canister_id: canister.as_slice().to_vec() };
        let found: Option<Vec<RawPrincipalId>> =
            self.ask(Method::POST, instance, "read/get_controllers", &canister).await;
        let ids = found.unwrap_or_default().into_iter();
        ids.filter_map(|raw| Principal::try_from_slice(&raw.principal_id).ok()).collect()
    }

    /// Returns the build of the upload canister; `None` for any other canister, and if the server does not answer.
    pub async fn build(&self, instance: &str, canister: Principal) -> Option<String> {
        let call = RawCanisterCall {
            sender: Principal::anonymous().as_slice().to_vec(),
            canister_id: canister.as_slice().to_vec(),
            effective_principal: RawEffectivePrincipal::None,
            method: "build_info".into(),
            payload: candid::encode_args(()).ok()?,
            sender_info: None,
        };
        match self.ask(Method::POST, instance, "read/query", &call).await? {
            RawCanisterResult::Ok(reply) => Some(candid::decode_one::<BuildInfo>(&reply).ok()?.build),
            RawCanisterResult::Err(_) => None,
        }
    }

    /// Returns the outcome of a submitted call; `None` if the server does not report it, or not yet.
    pub async fn outcome(
        &self,
        instance: &str,
        message: &RawMessageId,
        caller: Principal,
    ) -> Option<RawCanisterResult> {
        let args = RawIngressStatusArgs {
            raw_message_id: message.clone(),
            raw_caller: Some(RawPrincipalId { principal_id: caller.as_slice().to_vec() }),
        };
        self.ask::<Option<RawCanisterResult>>(Method::POST, instance, "read/ingress_status", &args)
            .await
            .flatten()
    }

    /// Makes a request about an instance; returns `None` if no answer of the expected type arrives.
    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        instance: &str,
        what: &str,
        body: &impl Serialize,
    ) -> Option<T> {
        let url = self.url_of(&format!("instances/{instance}/{what}"));
        let request = self.client.request(method.clone(), url);
        let mut request = if method == Method::GET { request } else { request.json(body) };
        let until = Instant::now() + BUSY_LIMIT;
        loop {
            let answer = request.try_clone()?.send().await.ok()?;
            match answer.status() {
                StatusCode::OK => return answer.json().await.ok(),
                // The operation continues on the server: poll for its result.
                StatusCode::ACCEPTED => {
                    let OperationId { state_label, op_id } = answer.json().await.ok()?;
                    request = self.client.get(self.url_of(&format!("read_graph/{state_label}/{op_id}")));
                    continue;
                }
                // The instance is busy, or the result to poll for does not exist yet.
                StatusCode::CONFLICT | StatusCode::NOT_FOUND if Instant::now() < until => {}
                _ => return None,
            }
            tokio::time::sleep(BUSY_PAUSE).await;
        }
    }

    fn url_of(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{path}", self.url.path().trim_end_matches('/')));
        url
    }
}
