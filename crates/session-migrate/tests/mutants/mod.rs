//! Bugs planted into a finished module or into a canister's stable memory, each as a faulty build could have caused it.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use candid::Principal;
use pocket_ic::common::rest::BlobCompression;
use session_migrate::build::{Module, gzip, unpack};
use session_migrate::replay::ReplayCanister;
use upload_canister::session::ChunkSet;
use upload_canister::stable::layout::Layout;
use upload_canister::storage::Storage;
use upload_canister::upload::{IdemKey, SessionRecord};
use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{BlockType, CodeSection, ExportKind, ExportSection, Function, FunctionSection, ValType};
use wasmparser::{Export, ExternalKind, Parser, Payload, TypeRef};

/// Returns `wasm` as a module with the features of `like`. The hash is that of `like`, too, not that of `wasm`.
fn packed(wasm: &[u8], like: &Module) -> Module {
    Module { gz: gzip(wasm).unwrap(), wasm_bytes: wasm.len() as u64, ..like.clone() }
}

/// Replaces one name of eight bytes by another. In the code, a name of eight bytes is a numeric constant.
struct Renamed {
    from: i64,
    to: i64,
    places: u32,
}

/// Returns a module in which one of the error kinds has another name of eight bytes.
pub fn with_other_error_kind(module: &Module, kind: &[u8; 8], other: &[u8; 8]) -> Module {
    let wasm = unpack(&module.gz).unwrap();
    let mut renamed = Renamed { from: i64::from_le_bytes(*kind), to: i64::from_le_bytes(*other), places: 0 };
    let mut changed = wasm_encoder::Module::new();
    renamed.parse_core_module(&mut changed, Parser::new(0), &wasm).unwrap();
    assert!(renamed.places > 0);
    packed(&changed.finish(), module)
}

impl Reencode for Renamed {
    type Error = Infallible;

    fn instruction<'a>(
        &mut self,
        operator: wasmparser::Operator<'a>,
    ) -> Result<wasm_encoder::Instruction<'a>, reencode::Error> {
        match operator {
            wasmparser::Operator::I64Const { value } if value == self.from => {
                self.places += 1;
                Ok(wasm_encoder::Instruction::I64Const(self.to))
            }
            other => reencode::utils::instruction(self, other),
        }
    }
}

/// An addition to a module: a function that counts down before it calls an exported function.
struct Slower {
    export: String,
    /// Index of the exported function.
    function: u32,
    /// The type of the exported function, which has neither parameters nor results.
    ty: u32,
    /// Index of the new function.
    number: u32,
    rounds: i32,
}

/// Instructions of one round of the loop in [`slower`]: loop, get, const, sub, tee and branch.
pub const INSTRUCTIONS_PER_ROUND: u64 = 6;

/// Returns a module in which a method first runs this many rounds of a loop.
pub fn slower(module: &Module, export: &str, rounds: i32) -> Module {
    let wasm = unpack(&module.gz).unwrap();
    let mut types = Vec::new();
    let mut imported = 0;
    let mut function = None;
    for payload in Parser::new(0).parse_all(&wasm) {
        match payload.unwrap() {
            Payload::ImportSection(section) => {
                let imports = section.into_imports().map(|import| import.unwrap().ty);
                imported = imports.filter(|ty| matches!(ty, TypeRef::Func(_))).count() as u32;
            }
            Payload::FunctionSection(section) => types.extend(section.into_iter().map(|ty| ty.unwrap())),
            Payload::ExportSection(section) => {
                let mut exports = section.into_iter().map(|export| export.unwrap());
                function = exports.find(|found| found.name == export).map(|found| found.index);
            }
            _ => {}
        }
    }
    let function = function.unwrap();
    let ty = types[(function - imported) as usize];
    let number = imported + types.len() as u32;
    let mut slower = Slower { export: export.to_owned(), function, ty, number, rounds };
    let mut changed = wasm_encoder::Module::new();
    slower.parse_core_module(&mut changed, Parser::new(0), &wasm).unwrap();
    packed(&changed.finish(), module)
}

impl Reencode for Slower {
    type Error = Infallible;

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: wasmparser::FunctionSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        reencode::utils::parse_function_section(self, functions, section)?;
        functions.function(self.ty);
        Ok(())
    }

    fn parse_export(
        &mut self,
        exports: &mut ExportSection,
        export: Export<'_>,
    ) -> Result<(), reencode::Error> {
        if export.kind == ExternalKind::Func && export.name == self.export {
            exports.export(export.name, ExportKind::Func, self.number);
            return Ok(());
        }
        reencode::utils::parse_export(self, exports, export)
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: wasmparser::CodeSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        reencode::utils::parse_code_section(self, code, section)?;
        let mut body = Function::new([(1, ValType::I32)]);
        body.instructions()
            .i32_const(self.rounds)
            .local_set(0)
            .loop_(BlockType::Empty)
            .local_get(0)
            .i32_const(1)
            .i32_sub()
            .local_tee(0)
            .br_if(0)
            .end()
            .call(self.function)
            .end();
        code.function(&body);
        Ok(())
    }
}

/// Changes the canister's stable memory from outside, and upgrades to `module`, so that the heap fits the changed
/// memory.
fn change_storage(subject: &ReplayCanister, module: &Module, change: impl FnOnce(&mut Storage)) {
    let raw = Rc::new(RefCell::new(subject.pic().get_stable_memory(subject.id())));
    let mut storage = Storage::open_accepting(raw.clone(), &[Layout::LEGACY, Layout::SPLIT]).unwrap();
    change(&mut storage);
    drop(storage);
    subject.pic().set_stable_memory(subject.id(), raw.take(), BlobCompression::NoCompression);
    // The canister's heap belongs to the previous stable memory; the upgrade replaces the heap.
    subject.upgrade(module).unwrap();
}

/// Changes a converted session as if its conversion had lost a chunk.
pub fn lose_chunk(subject: &ReplayCanister, module: &Module, chunk: u32) {
    change_storage(subject, module, |storage| {
        let session = storage.sessions.sessions.next_key(None).expect("no session is converted");
        let record = storage.sessions.sessions.get(&session).unwrap().unwrap();
        let mut converted = record.into_session().unwrap();
        let mut remaining = ChunkSet::default();
        for index in converted.received_idxs.ranges().flat_map(|(first, last)| first..=last) {
            if index != chunk {
                remaining.insert(index);
            }
        }
        assert_eq!(remaining.len() + 1, converted.received_idxs.len());
        converted.received_idxs = remaining;
        storage.sessions.sessions.insert(session, &SessionRecord::from(&converted));
    });
}

/// Removes an idempotency key as if the conversion of its session had lost it.
pub fn lose_key(subject: &ReplayCanister, module: &Module, (capsule, owner, idem): (&str, Principal, &str)) {
    change_storage(subject, module, |storage| {
        let key = IdemKey::of(capsule, &owner, idem);
        let session = storage.index.find(key).unwrap().expect("the key points to no session");
        storage.index.remove_key_of(key, session).unwrap();
    });
}
