//! The treatment of capsules and their galleries.

use super::*;

/// Maximum length of a capsule's id in bytes: the keys of the index by member cannot hold a longer one.
const MAX_CAPSULE_ID: usize = 32;

impl Planner<'_> {
    /// Plans every capsule, and writes its line of `left` and those of its galleries. Memories have lines of their own.
    pub(super) fn plan_capsules(&mut self) -> Result<(), SnapshotError> {
        for (id, capsule) in &self.source.capsules {
            let (mut owners, mut writers) = (principals(&capsule.owners), principals(&capsule.controllers));
            let owners_cut = truncate_list(&mut owners);
            writers.retain(|who| !owners.contains(who));
            let writers_cut = truncate_list(&mut writers);
            let owner_or_refusal = owner_or_refusal(id, &owners);
            let rest = capsule_rest(capsule, owners_cut, writers_cut);
            let reason = match &owner_or_refusal {
                Err(refusal) => refusal.clone(),
                Ok(_) if rest.is_empty() => "taken; the record as it was".into(),
                Ok(_) => format!("taken, except for {}", rest.join(", ")),
            };
            // The capsule with its people, connections and groups.
            let capsule_alone =
                PublicCapsule { memories: Vec::new(), galleries: Vec::new(), ..capsule.clone() };
            self.left.write(&Line::new(RecordKind::Capsule, id, &reason).with_record(&capsule_alone))?;
            self.report_galleries(id, capsule)?;
            match owner_or_refusal {
                Ok(owner) => {
                    let (subject, mut notes) = convert_subject(&capsule.subject);
                    let record = CapsuleRecord {
                        owners,
                        writers,
                        ..CapsuleRecord::new(subject, owner, capsule.created_at)
                    };
                    self.plan.capsules.insert(id.clone(), record);
                    if capsule.id != *id {
                        notes.push(format!("its record named {}, and it was stored as {id}", capsule.id));
                    }
                    self.plan.outcomes.add_taken(RecordKind::Capsule, id, None, notes).rest = rest;
                }
                Err(why) => self.plan.outcomes.add_not_taken(RecordKind::Capsule, id, None, &why),
            }
        }
        Ok(())
    }

    fn report_galleries(&mut self, id: &str, capsule: &PublicCapsule) -> Result<(), SnapshotError> {
        let why = "there are no galleries here";
        for (gallery, record) in &capsule.galleries {
            self.left
                .write(&Line::new(RecordKind::Gallery, gallery, why).in_capsule(id).with_record(record))?;
            self.plan.outcomes.add_no_counterpart(RecordKind::Gallery, gallery, Some(id), why);
        }
        Ok(())
    }
}

/// Returns one owner, if the capsule is taken; otherwise, why it is not.
fn owner_or_refusal(id: &str, owners: &[Principal]) -> Result<Principal, String> {
    match owners.first() {
        None => Err("no owner has a principal that may own a capsule here".to_owned()),
        Some(_) if id.len() > MAX_CAPSULE_ID => {
            Err(format!("its id has {} bytes, at most {MAX_CAPSULE_ID} are possible", id.len()))
        }
        Some(owner) => Ok(*owner),
    }
}

/// Converts the subject of a capsule. Returns what was repaired, too.
fn convert_subject(subject: &PublicPerson) -> (PersonRef, Vec<String>) {
    let mut notes = Vec::new();
    let converted = match subject {
        PublicPerson::Principal(principal) => PersonRef::Principal(*principal),
        PublicPerson::Opaque(text) => {
            let mut text = text.clone();
            if asset::cut(&mut text, MAX_SUBJECT_BYTES) {
                notes.push("the text of its subject exceeded the limit and was shortened".into());
            }
            PersonRef::Opaque(text)
        }
    };
    (converted, notes)
}

/// Returns the principals of these people, each once, without the anonymous principal, which can have no rights here.
fn principals<T>(people: &[(PublicPerson, T)]) -> Vec<Principal> {
    let mut seen = BTreeSet::from([Principal::anonymous()]);
    let all = people.iter().filter_map(|(person, _)| person.principal());
    all.filter(|who| seen.insert(*who)).collect()
}

/// Truncates a list to its limit, and returns the number of removed entries.
fn truncate_list(list: &mut Vec<Principal>) -> usize {
    let removed = list.len().saturating_sub(MAX_LIST);
    list.truncate(MAX_LIST);
    removed
}

/// Lists the parts of a capsule that have no counterpart here, and how many there are of each. `owners_cut` and
/// `writers_cut` are the numbers of owners and controllers beyond the limit of a list.
fn capsule_rest(capsule: &PublicCapsule, owners_cut: usize, writers_cut: usize) -> Vec<String> {
    let PublicCapsule { subject, owners, controllers, connections, connection_groups, .. } = capsule;
    let without_principal = |people: Vec<&PublicPerson>| {
        people
            .iter()
            .filter(|person| person.principal().is_none_or(|who| who == Principal::anonymous()))
            .count()
    };
    let owners_without = without_principal(owners.iter().map(|(person, _)| person).collect());
    let controllers_without = without_principal(controllers.iter().map(|(person, _)| person).collect());
    let people_with_rights =
        owners.iter().map(|(person, _)| person).chain(controllers.iter().map(|(person, _)| person));
    let subject_is_without_rights =
        subject.principal().is_some() && !people_with_rights.clone().any(|person| person == subject);
    let counted = [
        (owners_without, "owners without a principal"),
        (controllers_without, "controllers without a principal"),
        (owners_cut, "owners beyond the limit of a list"),
        (writers_cut, "controllers beyond the limit of a list"),
        (connections.len(), "connections"),
        (connection_groups.len(), "groups"),
        (usize::from(subject_is_without_rights), "subject who is not an owner, and has no right here"),
        (usize::from(capsule.bound_to_neon), "binding to an external database"),
    ];
    counted
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect()
}
