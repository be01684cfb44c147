//! Four words side by side: a vector on wasm, an array elsewhere, so that the same schedule can be tested
//! natively.

#[cfg(not(target_arch = "wasm32"))]
pub use portable::{Lanes, add, shifted_left, shifted_right, splat, store, transposed, xor};
#[cfg(target_arch = "wasm32")]
pub use vector::{Lanes, add, shifted_left, shifted_right, splat, store, transposed, xor};

/// Computes σ₀ of FIPS 180-4. WebAssembly has no vector rotation, so each rotation is the xor of two shifts, whose bits
/// do not overlap.
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
#[inline]
pub fn small_sigma_0(x: Lanes) -> Lanes {
    let right = xor(xor(shifted_right::<7>(x), shifted_right::<18>(x)), shifted_right::<3>(x));
    xor(right, xor(shifted_left::<25>(x), shifted_left::<14>(x)))
}

/// Computes σ₁ of FIPS 180-4.
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
#[inline]
pub fn small_sigma_1(x: Lanes) -> Lanes {
    let right = xor(xor(shifted_right::<17>(x), shifted_right::<19>(x)), shifted_right::<10>(x));
    xor(right, xor(shifted_left::<15>(x), shifted_left::<13>(x)))
}

#[cfg(target_arch = "wasm32")]
mod vector {
    use core::arch::wasm32::{
        i8x16_shuffle, u32x4_add, u32x4_shl, u32x4_shr, u32x4_splat, u64x2_shuffle, v128, v128_load,
        v128_store, v128_xor,
    };

    pub type Lanes = v128;

    #[target_feature(enable = "simd128")]
    #[inline]
    pub fn add(a: Lanes, b: Lanes) -> Lanes {
        u32x4_add(a, b)
    }

    #[target_feature(enable = "simd128")]
    #[inline]
    pub fn xor(a: Lanes, b: Lanes) -> Lanes {
        v128_xor(a, b)
    }

    #[target_feature(enable = "simd128")]
    #[inline]
    pub fn shifted_left<const BITS: u32>(x: Lanes) -> Lanes {
        u32x4_shl(x, BITS)
    }

    #[target_feature(enable = "simd128")]
    #[inline]
    pub fn shifted_right<const BITS: u32>(x: Lanes) -> Lanes {
        u32x4_shr(x, BITS)
    }

    #[target_feature(enable = "simd128")]
    #[inline]
    pub fn splat(word: u32) -> Lanes {
        u32x4_splat(word)
    }

    #[target_feature(enable = "simd128")]
    #[inline]
    pub fn store(words: &mut [u32; 4], lanes: Lanes) {
        // SAFETY: `words` is an exclusive reference to sixteen bytes, and a vector can be stored at any address.
        unsafe { v128_store(words.as_mut_ptr().cast(), lanes) };
    }

    /// Reads the sixteen big-endian words of four blocks. Element `t` has word `t` of every block, one block per lane.
    #[target_feature(enable = "simd128")]
    #[inline]
    pub fn transposed(blocks: &[[u8; 64]; 4]) -> [Lanes; 16] {
        let [a, b, c, d] = blocks;
        let [a0, a1, a2, a3] = load_block(a);
        let [b0, b1, b2, b3] = load_block(b);
        let [c0, c1, c2, c3] = load_block(c);
        let [d0, d1, d2, d3] = load_block(d);
        let [w0, w1, w2, w3] = transposed_words(a0, b0, c0, d0);
        let [w4, w5, w6, w7] = transposed_words(a1, b1, c1, d1);
        let [w8, w9, w10, w11] = transposed_words(a2, b2, c2, d2);
        let [w12, w13, w14, w15] = transposed_words(a3, b3, c3, d3);
        [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15]
    }

    #[target_feature(enable = "simd128")]
    #[inline]
    fn load_block(block: &[u8; 64]) -> [Lanes; 4] {
        let vectors: *const Lanes = block.as_ptr().cast();
        // SAFETY: a block has four times sixteen bytes, and a vector can be loaded from any address.
        unsafe {
            [
                v128_load(vectors),
                v128_load(vectors.add(1)),
                v128_load(vectors.add(2)),
                v128_load(vectors.add(3)),
            ]
        }
    }

    /// Transposes four words of each of four blocks, and reverses the bytes of each word: lanes are little-endian.
    #[target_feature(enable = "simd128")]
    #[inline]
    fn transposed_words(a: Lanes, b: Lanes, c: Lanes, d: Lanes) -> [Lanes; 4] {
        let a_b_low = i8x16_shuffle::<3, 2, 1, 0, 19, 18, 17, 16, 7, 6, 5, 4, 23, 22, 21, 20>(a, b);
        let c_d_low = i8x16_shuffle::<3, 2, 1, 0, 19, 18, 17, 16, 7, 6, 5, 4, 23, 22, 21, 20>(c, d);
        let a_b_high = i8x16_shuffle::<11, 10, 9, 8, 27, 26, 25, 24, 15, 14, 13, 12, 31, 30, 29, 28>(a, b);
        let c_d_high = i8x16_shuffle::<11, 10, 9, 8, 27, 26, 25, 24, 15, 14, 13, 12, 31, 30, 29, 28>(c, d);
        [
            u64x2_shuffle::<0, 2>(a_b_low, c_d_low),
            u64x2_shuffle::<1, 3>(a_b_low, c_d_low),
            u64x2_shuffle::<0, 2>(a_b_high, c_d_high),
            u64x2_shuffle::<1, 3>(a_b_high, c_d_high),
        ]
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod portable {
    #[derive(Clone, Copy)]
    pub struct Lanes([u32; 4]);

    impl Lanes {
        fn zip_with(self, other: Self, f: impl Fn(u32, u32) -> u32) -> Self {
            let ([a, b, c, d], [e, g, h, i]) = (self.0, other.0);
            Self([f(a, e), f(b, g), f(c, h), f(d, i)])
        }
    }

    pub fn add(a: Lanes, b: Lanes) -> Lanes {
        a.zip_with(b, u32::wrapping_add)
    }

    pub fn xor(a: Lanes, b: Lanes) -> Lanes {
        a.zip_with(b, |a, b| a ^ b)
    }

    pub fn shifted_left<const BITS: u32>(x: Lanes) -> Lanes {
        Lanes(x.0.map(|word| word << BITS))
    }

    pub fn shifted_right<const BITS: u32>(x: Lanes) -> Lanes {
        Lanes(x.0.map(|word| word >> BITS))
    }

    pub const fn splat(word: u32) -> Lanes {
        Lanes([word; 4])
    }

    pub const fn store(words: &mut [u32; 4], lanes: Lanes) {
        *words = lanes.0;
    }

    pub fn transposed(blocks: &[[u8; 64]; 4]) -> [Lanes; 16] {
        let blocks = blocks.each_ref().map(|block| block.as_chunks::<4>().0);
        core::array::from_fn(|t| {
            Lanes(blocks.map(|words| words.get(t).map_or(0, |word| u32::from_be_bytes(*word))))
        })
    }
}
