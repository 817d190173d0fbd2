//! 512-bit vectors: Intel's servers since 2017, AMD since Zen 4 (which computes them in halves: `peak::is_512_faster`).

use std::arch::x86_64::{
    __m256bh, __m256i, __m512, __m512bh, _CMP_GT_OQ, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm_sfence,
    _mm_storeu_si128, _mm256_loadu_si256, _mm256_storeu_si256, _mm256_stream_si256, _mm512_abs_ps, _mm512_add_epi32,
    _mm512_add_ps, _mm512_and_si512, _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cmp_ps_mask,
    _mm512_cvtepi32_epi16, _mm512_cvtepi32_ps, _mm512_cvtepu8_epi32, _mm512_cvtepu16_epi32, _mm512_cvtneps_pbh,
    _mm512_cvtps_epi32, _mm512_cvtusepi32_epi8, _mm512_dpbf16_ps, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_maskz_mov_ps, _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps, _mm512_or_si512, _mm512_rcp14_ps,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_slli_epi32, _mm512_srli_epi32, _mm512_storeu_ps,
    _mm512_stream_ps, _mm512_sub_ps,
};
use std::mem::transmute;
use std::ops::RangeInclusive;
use std::sync::OnceLock;

use half::bf16;

use super::check::{agrees, agrees_in_pairs};
use super::norm::{Pass, run};
use super::outer::{Outer, accumulate};
use super::pairs::{PairLoops, pair_loops};
use super::product::{Strip, multiply};
use super::scheme::Scheme;
use super::transform::{Gather, Spread};
use super::vector::{Engine, OfNumbers, OfPairs, Paired, Vector, by_rows, engine, vector_functions};

/// Sixteen f32.
#[derive(Clone, Copy)]
struct Sixteen(__m512);

impl Vector for Sixteen {
    const LANES: usize = 16;

    vector_functions! {
        zero() -> Self { Self(_mm512_setzero_ps()) }
        splat(value: f32) -> Self { Self(_mm512_set1_ps(value)) }
        load(from: *const f32) -> Self { Self(_mm512_loadu_ps(from)) }
        store(self: Self, to: *mut f32) -> () { _mm512_storeu_ps(to, self.0) }
        stream(self: Self, to: *mut f32) -> () { _mm512_stream_ps(to, self.0) }
        widen(from: *const bf16) -> Self {
            let words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            Self(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(words)))
        }
        round(self: Self, to: *mut bf16) -> () { _mm256_storeu_si256(to.cast(), self.rounded()) }
        stream_rounded(self: Self, to: *mut bf16) -> () { _mm256_stream_si256(to.cast(), self.rounded()) }
        fence() -> () { _mm_sfence() }
        prefetch(from: *const f32) -> () { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
        add(self: Self, other: Self) -> Self { Self(_mm512_add_ps(self.0, other.0)) }
        sub(self: Self, other: Self) -> Self { Self(_mm512_sub_ps(self.0, other.0)) }
        fma(self: Self, factor: Self, summand: Self) -> Self { Self(_mm512_fmadd_ps(self.0, factor.0, summand.0)) }
        relu(self: Self) -> (Self, u32) {
            let positive = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, _mm512_setzero_ps());
            (Self(_mm512_maskz_mov_ps(positive, self.0)), u32::from(positive))
        }
        keep(self: Self, bits: u32) -> Self { Self(_mm512_maskz_mov_ps(bits as u16, self.0)) }
        slopes(from: Self, to: Self, bytes: *mut u8) -> () {
            let above = _mm512_max_ps(_mm512_max_ps(from.0, to.0), _mm512_setzero_ps());
            let way = _mm512_max_ps(_mm512_abs_ps(_mm512_sub_ps(to.0, from.0)), _mm512_set1_ps(f32::MIN_POSITIVE));
            // To 14 bits, of which a byte keeps eight.
            let share = _mm512_min_ps(_mm512_mul_ps(above, _mm512_rcp14_ps(way)), _mm512_set1_ps(1.0));
            let whole = _mm512_cvtps_epi32(_mm512_mul_ps(share, _mm512_set1_ps(255.0)));
            _mm_storeu_si128(bytes.cast(), _mm512_cvtusepi32_epi8(whole));
        }
        weigh(self: Self, bytes: *const u8) -> Self {
            let bytes = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(bytes.cast())));
            Self(_mm512_mul_ps(self.0, _mm512_mul_ps(bytes, _mm512_set1_ps(1.0 / 255.0))))
        }
    }
}

impl Sixteen {
    /// As bf16, without the instruction for it, which not all have: half of the last digit that stays is added, less one unless
    /// that digit is odd.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "instructions, not a call")]
    unsafe fn rounded(self) -> __m256i {
        // SAFETY: the contract of `Vector`.
        unsafe {
            let bits = _mm512_castps_si512(self.0);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF));
            _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(_mm512_add_epi32(bits, half)))
        }
    }
}

impl Paired for Sixteen {
    vector_functions! {
        dot(self: Self, factor: Self, summand: Self) -> Self {
            let [one, other] = [self.0, factor.0].map(|pairs| transmute::<__m512, __m512bh>(pairs));
            Self(_mm512_dpbf16_ps(summand.0, one, other))
        }
        couple(first: Self, second: Self) -> Self {
            let [first, second] = [first, second].map(|numbers| {
                _mm512_cvtepu16_epi32(transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(numbers.0)))
            });
            Self(_mm512_castsi512_ps(_mm512_or_si512(first, _mm512_slli_epi32::<16>(second))))
        }
        narrow(self: Self, to: *mut f32) -> () {
            _mm256_storeu_si256(to.cast(), transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(self.0)));
        }
    }
}

/// AVX-512's foundation.
#[derive(Clone, Copy, Debug)]
pub struct Avx512 {
    pairs: Option<&'static PairLoops>,
}

impl Avx512 {
    /// Products in f32. `None` where the processor does not have it, or where an instruction gives other numbers than plain
    /// arithmetic.
    pub fn new() -> Option<Self> {
        #[target_feature(enable = "avx512f")]
        unsafe fn check() -> bool {
            // SAFETY: the caller's promise.
            unsafe { agrees::<Sixteen>() }
        }
        static HERE: OnceLock<bool> = OnceLock::new();
        let here = || std::arch::is_x86_feature_detected!("avx512f");
        // SAFETY: asked for only where it is there.
        HERE.get_or_init(|| here() && unsafe { check() }).then_some(Self { pairs: None })
    }

    /// Products in bf16, but for those by a transform, likewise.
    pub fn bf16() -> Option<Self> {
        #[target_feature(enable = "avx512f,avx512bf16")]
        unsafe fn check() -> bool {
            // SAFETY: the caller's promise.
            unsafe { agrees_in_pairs::<Sixteen>() }
        }
        static HERE: OnceLock<bool> = OnceLock::new();
        static PAIRS: PairLoops =
            pair_loops!(#[target_feature(enable = "avx512f,avx512bf16")] Sixteen, [6, 7, 8, 9, 10, 11; 12], 2);
        // The compiler takes the one for a part of the other.
        let here =
            || std::arch::is_x86_feature_detected!("avx512bf16") && std::arch::is_x86_feature_detected!("avx512bw");
        // SAFETY: as above.
        let here = Self::new().is_some() && *HERE.get_or_init(|| here() && unsafe { check() });
        here.then_some(Self { pairs: Some(&PAIRS) })
    }
}

// 24 sums, 2 vectors of the panel and a pixel: 27 of 32 registers.
engine!(#[target_feature(enable = "avx512f")] Avx512, Sixteen, [6, 7, 8, 9, 10, 11; 12], 2, pairs);
