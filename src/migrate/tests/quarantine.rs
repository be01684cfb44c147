//! Records that were put aside and are tried again.

use super::*;

#[test]
fn a_record_that_was_in_no_index_gets_its_key_when_it_is_converted_at_last() {
    let (mut world, sessions) = layout_1();
    let (id, file, _) = &sessions[1];
    let status = world.service().status(*id).unwrap();
    let prefix = ChunkPrefix::of(&status.provisional_memory_id, SessionId(*id));
    let usage = world.storage.usage.total().unwrap();
    forget(&mut world, *id, file, "1");
    world.storage.blobs.write_chunk(prefix, 77, b"stray");
    upgrade(&mut world);
    assert_eq!(run_to_end(&mut world).quarantined, 1);

    world.storage.blobs.release(prefix);
    controls::retry(&mut world.storage, world.now, Some(*id)).unwrap();
    assert!(!world.storage.index.contains(SessionId(*id), person(OWNER)), "it is as it was");
    let state = run_to_end(&mut world);
    assert_eq!((state.phase, state.converted, state.quarantined), (Phase::Converted, 5, 0), "{}", state.note);
    assert_eq!(world.begin(file.len(), "1"), *id, "its key leads to it");
    assert_eq!(world.storage.usage.total(), Ok(usage));
    for idx in 0..3 {
        world.put(*id, file, idx).unwrap();
    }
    world.finish(*id, file).unwrap();
}

#[test]
fn what_is_in_quarantine_is_left_there_only_if_a_controller_says_so_and_is_listed_then() {
    let (mut world, sessions) = layout_1();
    let rubbish = sessions[0].0;
    world.storage.sessions.legacy.insert(rubbish, &RawRecord(b"rubbish".to_vec()));
    upgrade(&mut world);
    run_to_end(&mut world);
    let refused = controls::finalize(&mut world.storage, world.now, false).unwrap_err().to_string();
    assert!(refused.contains("quarantine"), "{refused}");
    assert_eq!(phase(&world), Phase::Converted);
    controls::finalize(&mut world.storage, world.now, true).unwrap();

    // What the direct build does next: another migration is the current one, with units under numbers of its own.
    world.storage.migration.set_state(2, &MigrationState::default());
    for key in rubbish..=60 {
        let record = QuarantineRecord::new(format!("blob {key}"), vec![2]);
        world.storage.migration.quarantine.insert(2, key, &record);
    }
    let mut listed = Vec::new();
    loop {
        let page = world.storage.migration.quarantined(listed.last().map(|(key, _)| *key)).unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 51, "{}", page.len());
        listed.extend(page.into_iter().map(|record| (record.session, record.raw.into_vec())));
    }
    let expected: Vec<_> = [(rubbish, b"rubbish".to_vec())]
        .into_iter()
        .chain((rubbish..=60).map(|key| (key, vec![2])))
        .collect();
    assert_eq!(listed, expected);
}
