"""Runs a module of Motoko's compiler with enhanced orthogonal persistence, without a network: calls without arguments, upgrades."""

from wasmtime import Config, Engine, Func, Linker, Memory, Module, Store

config = Config()
config.wasm_memory64 = True
engine = Engine(config)


def number(data, at):
    """An unsigned number in LEB128, and the position after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def encoded(value):
    parts = b""
    while value > 127:
        parts += bytes([value & 127 | 128])
        value >>= 7
    return parts + bytes([value])


def with_exported_start(wasm):
    """The module with its start function as the export `start`: an upgrade has to put the memory in place before it runs."""
    sections, at = [], 8
    while at < len(wasm):
        size, begin = number(wasm, at + 1)
        sections.append((wasm[at], wasm[begin : begin + size]))
        at = begin + size
    start = next(number(content, 0)[0] for kind, content in sections if kind == 8)
    result = wasm[:8]
    for kind, content in sections:
        if kind == 8:
            continue
        if kind == 7:
            count, begin = number(content, 0)
            content = encoded(count + 1) + content[begin:] + b"\5start\0" + encoded(start)
        result += bytes([kind]) + encoded(len(content)) + content
    return result


class Trap(Exception):
    pass


class Canister:
    def __init__(self, wasm):
        self.stable = bytearray()
        self.load(wasm)
        self.run("start")
        self.run("canister_init")

    def load(self, wasm):
        self.module, self.store, linker = Module(engine, with_exported_start(wasm)), Store(engine), Linker(engine)
        for item in self.module.imports:
            linker.define(self.store, item.module, item.name, Func(self.store, item.type, self.system(item.name)))
        self.exports = linker.instantiate(self.store, self.module).exports(self.store)
        self.memory = next(self.exports[item.name] for item in self.module.exports if isinstance(self.exports[item.name], Memory))

    def system(self, name):
        def call(*arguments):
            if not hasattr(self, "ic0_" + name):
                raise Trap(f"{name} is not implemented")
            return getattr(self, "ic0_" + name)(*arguments)

        return call

    def run(self, name):
        self.reply = b""
        self.exports[name](self.store)
        return self.reply

    def text(self, method):
        """The reply of a method that returns a text."""
        reply = self.run("canister_update " + method)
        size, begin = number(reply, 7)
        return reply[begin : begin + size].decode()

    def upgrade(self, wasm):
        """Upgrades and keeps the main memory. Returns "ok" or the trap, after which the object cannot be used."""
        self.run("canister_pre_upgrade")
        content = self.read(0, self.memory.data_len(self.store))
        self.load(wasm)
        missing = len(content) - self.memory.data_len(self.store)
        if missing > 0:
            self.memory.grow(self.store, missing // 65536)
        self.write(0, content)
        try:
            self.run("start")
            self.run("canister_post_upgrade")
            return "ok"
        except Trap as trap:
            return str(trap)

    def read(self, at, size):
        return bytes(self.memory.read(self.store, at, at + size))

    def write(self, at, data):
        self.memory.write(self.store, bytes(data), at)

    def ic0_msg_arg_data_size(self):
        return 6

    def ic0_msg_arg_data_copy(self, to, offset, size):
        self.write(to, b"DIDL\0\0"[offset : offset + size])

    def ic0_msg_reply_data_append(self, at, size):
        self.reply += self.read(at, size)

    def ic0_msg_reply(self):
        pass

    def ic0_msg_caller_size(self):
        return 1

    def ic0_msg_caller_copy(self, to, offset, size):
        self.write(to, b"\4"[offset : offset + size])

    def ic0_trap(self, at, size):
        raise Trap(self.read(at, size).decode())

    def ic0_stable64_size(self):
        return len(self.stable) >> 16

    def ic0_stable64_grow(self, pages):
        before = self.ic0_stable64_size()
        self.stable.extend(bytes(pages << 16))
        return before

    def ic0_stable64_read(self, to, offset, size):
        self.write(to, self.stable[offset : offset + size])

    def ic0_stable64_write(self, offset, at, size):
        self.stable[offset : offset + size] = self.read(at, size)

    def ic0_time(self):
        return 1_700_000_000_000_000_000

    def ic0_performance_counter(self, kind):
        return 0

    def ic0_canister_status(self):
        return 1

    def ic0_global_timer_set(self, time):
        return 0
