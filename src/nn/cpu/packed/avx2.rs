//! 256-bit vectors with fused multiply-add: Intel since Haswell, AMD since Zen.

use std::arch::x86_64::{
    __m256, _CMP_GT_OQ, _MM_HINT_T0, _mm_loadl_epi64, _mm_packs_epi32, _mm_packus_epi16, _mm_prefetch, _mm_sfence,
    _mm_storel_epi64, _mm256_add_ps, _mm256_and_ps, _mm256_and_si256, _mm256_andnot_ps, _mm256_castsi256_ps,
    _mm256_castsi256_si128, _mm256_cmp_ps, _mm256_cmpeq_epi32, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32,
    _mm256_cvtps_epi32, _mm256_div_ps, _mm256_extracti128_si256, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_max_ps,
    _mm256_min_ps, _mm256_movemask_ps, _mm256_mul_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setr_epi32,
    _mm256_setzero_ps, _mm256_storeu_ps, _mm256_stream_ps, _mm256_sub_ps,
};
use std::ops::RangeInclusive;

use super::norm::{Pass, run};
use super::outer::{Outer, accumulate};
use super::pairs::PairLoops;
use super::product::{Strip, multiply};
use super::scheme::Scheme;
use super::transform::{Gather, Spread};
use super::vector::{Engine, OfNumbers, Vector, by_rows, engine, vector_functions};

/// Eight f32.
#[derive(Clone, Copy)]
struct Eight(__m256);

impl Vector for Eight {
    const LANES: usize = 8;

    vector_functions! {
        zero() -> Self { Self(_mm256_setzero_ps()) }
        splat(value: f32) -> Self { Self(_mm256_set1_ps(value)) }
        load(from: *const f32) -> Self { Self(_mm256_loadu_ps(from)) }
        store(self: Self, to: *mut f32) -> () { _mm256_storeu_ps(to, self.0) }
        stream(self: Self, to: *mut f32) -> () { _mm256_stream_ps(to, self.0) }
        fence() -> () { _mm_sfence() }
        prefetch(from: *const f32) -> () { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
        add(self: Self, other: Self) -> Self { Self(_mm256_add_ps(self.0, other.0)) }
        sub(self: Self, other: Self) -> Self { Self(_mm256_sub_ps(self.0, other.0)) }
        fma(self: Self, factor: Self, summand: Self) -> Self { Self(_mm256_fmadd_ps(self.0, factor.0, summand.0)) }
        relu(self: Self) -> (Self, u32) {
            let positive = _mm256_cmp_ps::<_CMP_GT_OQ>(self.0, _mm256_setzero_ps());
            (Self(_mm256_and_ps(self.0, positive)), _mm256_movemask_ps(positive) as u32)
        }
        keep(self: Self, bits: u32) -> Self {
            let lanes = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
            let set = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(bits as i32), lanes), lanes);
            Self(_mm256_and_ps(self.0, _mm256_castsi256_ps(set)))
        }
        slopes(from: Self, to: Self, bytes: *mut u8) -> () {
            let sign = _mm256_set1_ps(-0.0);
            let above = _mm256_max_ps(_mm256_max_ps(from.0, to.0), _mm256_setzero_ps());
            let way = _mm256_max_ps(_mm256_andnot_ps(sign, _mm256_sub_ps(to.0, from.0)), _mm256_set1_ps(f32::MIN_POSITIVE));
            let share = _mm256_min_ps(_mm256_div_ps(above, way), _mm256_set1_ps(1.0));
            let whole = _mm256_cvtps_epi32(_mm256_mul_ps(share, _mm256_set1_ps(255.0)));
            let words = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256::<1>(whole));
            _mm_storel_epi64(bytes.cast(), _mm_packus_epi16(words, words));
        }
        weigh(self: Self, bytes: *const u8) -> Self {
            let bytes = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(bytes.cast())));
            Self(_mm256_mul_ps(self.0, _mm256_mul_ps(bytes, _mm256_set1_ps(1.0 / 255.0))))
        }
    }
}

/// AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

impl Avx2 {
    /// `None` where the processor does not have it.
    pub fn new() -> Option<Self> {
        let here = std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
        here.then_some(Self(()))
    }
}

// 12 sums, 2 vectors of the panel and a pixel: 15 of 16 registers.
engine!(#[target_feature(enable = "avx2,fma")] Avx2, Eight, [4, 5; 6], 2);
