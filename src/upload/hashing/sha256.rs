//! SHA-256 with the message schedules of four blocks computed at once, in vector instructions.
//!
//! A block's schedule depends only on the block; its rounds also depend on the previous block. So the schedules of four
//! blocks are computed side by side in vectors of four words, one block in each lane (the place of a word in a vector).
//! The rounds follow block by block in scalar instructions, for which the IC charges less than for any vector version.
//! On wasm and in tests, the `sha2` crate hashes only what remains after the last group of four blocks; elsewhere it
//! does all the hashing.
//!
//! The digest and the serialized intermediate state are the same as with [`sha2::Sha256`].

mod lanes;

use sha2::block_api::compress256;
use sha2::digest::array::Array;
use sha2::digest::block_api::{
    AlgorithmName, Block, BlockSizeUser, Buffer, BufferKindUser, Eager, FixedOutputCore, OutputSizeUser,
    Reset, UpdateCore,
};
use sha2::digest::common::hazmat::{DeserializeStateError, SerializableState, SerializedState};
use sha2::digest::consts::{U32, U40, U64};
use sha2::digest::{HashMarker, Output, buffer_fixed};

use lanes::{add, small_sigma_0, small_sigma_1, splat, store, transposed};

buffer_fixed!(
    /// SHA-256, with the same interface as `sha2::Sha256`.
    pub struct Sha256(Core);
    impl: BaseFixedTraits AlgorithmName Default Clone HashMarker Reset FixedOutputReset SerializableState;
);

/// The state between two blocks: the eight words, and how many blocks have been hashed.
#[derive(Clone)]
pub struct Core {
    state: [u32; 8],
    blocks: u64,
}

const BLOCK_BYTES: u64 = 64;

const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// The constants of the 64 rounds.
#[rustfmt::skip]
const K: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

/// The schedules of four blocks: at `[t][n]`, word `t` of block `n` plus the constant of round `t`.
type Schedules = [[u32; 4]; 64];

/// Hashes four blocks. `schedules` is overwritten: it is a parameter only so that it need not be cleared for each
/// group.
fn compress_four(state: &mut [u32; 8], blocks: &[[u8; 64]; 4], schedules: &mut Schedules) {
    #[allow(unused_unsafe, reason = "safe on targets other than wasm")]
    // SAFETY: where vector instructions are not supported, a module that contains them is refused as a whole.
    unsafe {
        expand_schedules(blocks, schedules);
    }
    for block in 0..4 {
        let words =
            schedules.as_flattened().split_at_checked(block).and_then(|(_, words)| words.first_chunk());
        if let Some(words) = words {
            run_rounds(state, words);
        }
    }
}

/// Computes the schedules of four blocks: 16 words of each in the first turn, and 16 more in each of three further
/// turns.
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
fn expand_schedules(blocks: &[[u8; 64]; 4], schedules: &mut Schedules) {
    let mut w = transposed(blocks);
    let (parts, _) = schedules.as_chunks_mut::<16>();
    let (round_constants, _) = K.as_chunks::<16>();
    for (turn, (schedule, constants)) in parts.iter_mut().zip(round_constants).enumerate() {
        // Word 16 needs words 0, 1, 9 and 14, and overwrites word 0; the later words follow as in a ring buffer.
        macro_rules! words {
            ($($t:literal)*) => {$(
                if turn > 0 {
                    let sum = add(w[$t], small_sigma_0(w[($t + 1) % 16]));
                    w[$t] = add(add(sum, w[($t + 9) % 16]), small_sigma_1(w[($t + 14) % 16]));
                }
                store(&mut schedule[$t], add(w[$t], splat(constants[$t])));
            )*};
        }
        words!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    }
}

/// Runs the 64 rounds of one block. Its schedule is every fourth word of `words`, beginning with the first: 64 words,
/// and three words of the other blocks in each of the 63 gaps.
#[inline(never)]
fn run_rounds(state: &mut [u32; 8], words: &[u32; 253]) {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    // The majority of a, b and c is b ^ ((a ^ b) & (b ^ c)), and a ^ b of one round is b ^ c of the next.
    let mut b_c = b ^ c;
    macro_rules! round {
        ($a:ident $b:ident $d:ident $e:ident $f:ident $g:ident $h:ident, $t:expr) => {
            let big_sigma_1 = $e.rotate_right(6) ^ $e.rotate_right(11) ^ $e.rotate_right(25);
            let choice = (($f ^ $g) & $e) ^ $g;
            let t1 = $h.wrapping_add(big_sigma_1).wrapping_add(choice).wrapping_add(words[4 * $t]);
            $d = $d.wrapping_add(t1);
            let big_sigma_0 = $a.rotate_right(2) ^ $a.rotate_right(13) ^ $a.rotate_right(22);
            let a_b = $a ^ $b;
            $h = t1.wrapping_add(big_sigma_0).wrapping_add((a_b & b_c) ^ $b);
            b_c = a_b;
        };
    }
    macro_rules! eight_rounds {
        ($($t:literal)*) => {$(
            round!(a b d e f g h, $t);
            round!(h a c d e f g, $t + 1);
            round!(g h b c d e f, $t + 2);
            round!(f g a b c d e, $t + 3);
            round!(e f h a b c d, $t + 4);
            round!(d e g h a b c, $t + 5);
            round!(c d f g h a b, $t + 6);
            round!(b c e f g h a, $t + 7);
        )*};
    }
    eight_rounds!(0 8 16 24 32 40 48 56);
    let _ = b_c;
    for (sum, word) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *sum = sum.wrapping_add(word);
    }
}

impl Default for Core {
    fn default() -> Self {
        Self { state: INITIAL, blocks: 0 }
    }
}

impl Reset for Core {
    fn reset(&mut self) {
        *self = Self::default();
    }
}

impl HashMarker for Core {}

impl AlgorithmName for Core {
    fn write_alg_name(f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Sha256")
    }
}

impl BlockSizeUser for Core {
    type BlockSize = U64;
}

impl BufferKindUser for Core {
    type BufferKind = Eager;
}

impl OutputSizeUser for Core {
    type OutputSize = U32;
}

impl UpdateCore for Core {
    fn update_blocks(&mut self, blocks: &[Block<Self>]) {
        self.blocks = self.blocks.wrapping_add(blocks.len() as u64);
        let blocks = Array::cast_slice_to_core(blocks);
        let (fours, remaining) =
            if cfg!(any(target_arch = "wasm32", test)) { blocks.as_chunks() } else { (&[][..], blocks) };
        if !fours.is_empty() {
            let mut schedules = [[0; 4]; 64];
            fours.iter().for_each(|four| compress_four(&mut self.state, four, &mut schedules));
        }
        compress256(&mut self.state, remaining);
    }
}

impl FixedOutputCore for Core {
    fn finalize_fixed_core(&mut self, buffer: &mut Buffer<Self>, out: &mut Output<Self>) {
        let bytes = self.blocks.wrapping_mul(BLOCK_BYTES).wrapping_add(buffer.get_pos() as u64);
        buffer.len64_padding_be(bytes.wrapping_mul(8), |block| compress256(&mut self.state, &[block.0]));
        let (words, _) = out.as_chunks_mut();
        for (word, value) in words.iter_mut().zip(self.state) {
            *word = value.to_be_bytes();
        }
    }
}

/// The same bytes as `sha2` writes: the words of the state and the number of blocks, little-endian.
impl SerializableState for Core {
    type SerializedStateSize = U40;

    fn serialize(&self) -> SerializedState<Self> {
        let mut bytes = SerializedState::<Self>::default();
        let words = self.state.iter().flat_map(|word| word.to_le_bytes());
        bytes.iter_mut().zip(words.chain(self.blocks.to_le_bytes())).for_each(|(byte, value)| *byte = value);
        bytes
    }

    fn deserialize(bytes: &SerializedState<Self>) -> Result<Self, DeserializeStateError> {
        let (words, blocks) = bytes.split_last_chunk().ok_or(DeserializeStateError)?;
        let mut state = INITIAL;
        let (words, _) = words.as_chunks();
        state.iter_mut().zip(words).for_each(|(word, bytes)| *word = u32::from_le_bytes(*bytes));
        Ok(Self { state, blocks: u64::from_le_bytes(*blocks) })
    }
}

#[cfg(test)]
mod tests;
