//! The gateways of a server, by their numbers.

use crate::locks::lock_unpoisoned;
use pocket_ic::common::rest::{HttpGatewayBackend, HttpGatewayDetails};
use std::sync::Mutex;
use tokio::sync::watch;

/// The gateways of a server. Their numbers are not reused.
#[derive(Default)]
pub struct Gateways(Mutex<Vec<Gateway>>);

struct Gateway {
    details: HttpGatewayDetails,
    /// `None` once the gateway has stopped. Dropping the sender stops the gateway.
    running: Option<watch::Sender<()>>,
}

impl Gateways {
    /// Returns the gateways that have not stopped.
    pub(super) fn list(&self) -> Vec<HttpGatewayDetails> {
        let gateways = lock_unpoisoned(&self.0);
        gateways
            .iter()
            .filter(|gateway| gateway.running.is_some())
            .map(|gateway| gateway.details.clone())
            .collect()
    }

    /// Adds a running gateway and returns its number, which `details` gets, too.
    pub(super) fn add(
        &self,
        running: watch::Sender<()>,
        details: impl FnOnce(usize) -> HttpGatewayDetails,
    ) -> usize {
        let mut gateways = lock_unpoisoned(&self.0);
        let number = gateways.len();
        gateways.push(Gateway { details: details(number), running: Some(running) });
        number
    }

    /// Stops a gateway, unless it has stopped already. Returns whether there ever was a gateway with this number.
    pub(super) fn stop(&self, number: usize) -> bool {
        match lock_unpoisoned(&self.0).get_mut(number) {
            Some(gateway) => {
                gateway.running = None;
                true
            }
            None => false,
        }
    }

    /// Stops all gateways of an instance.
    pub fn stop_those_of(&self, instance: usize) {
        for gateway in lock_unpoisoned(&self.0).iter_mut() {
            if matches!(gateway.details.forward_to, HttpGatewayBackend::PocketIcInstance(id) if id == instance)
            {
                gateway.running = None;
            }
        }
    }
}
