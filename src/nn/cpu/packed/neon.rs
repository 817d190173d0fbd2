//! 128-bit vectors of 64-bit ARM, which every such processor has: Apple's since the M1, servers, boards.

use std::arch::aarch64::{
    float32x4_t, vabdq_f32, vaddq_f32, vaddvq_u32, vandq_u32, vcgtzq_f32, vcvtnq_u32_f32, vcvtq_f32_u32, vdivq_f32,
    vdupq_n_f32, vdupq_n_u32, vfmaq_f32, vld1q_f32, vld1q_u32, vmaxq_f32, vminq_f32, vmulq_f32, vreinterpretq_f32_u32,
    vreinterpretq_u32_f32, vst1q_f32, vst1q_u32, vsubq_f32, vtstq_u32,
};
use std::ops::RangeInclusive;

use super::norm::{Pass, run};
use super::outer::{Outer, accumulate};
use super::pairs::PairLoops;
use super::product::{Strip, multiply};
use super::scheme::Scheme;
use super::transform::{Gather, Spread};
use super::vector::{Engine, OfNumbers, Vector, by_rows, engine, vector_functions};

/// Four f32.
#[derive(Clone, Copy)]
struct Four(float32x4_t);

/// The bit of each lane.
const BITS: [u32; 4] = [1, 2, 4, 8];

impl Vector for Four {
    const LANES: usize = 4;

    vector_functions! {
        zero() -> Self { Self(vdupq_n_f32(0.0)) }
        splat(value: f32) -> Self { Self(vdupq_n_f32(value)) }
        load(from: *const f32) -> Self { Self(vld1q_f32(from)) }
        store(self: Self, to: *mut f32) -> () { vst1q_f32(to, self.0) }
        // Nothing in stable Rust asks for the like, nor for a number ahead of time; both are only hints.
        stream(self: Self, to: *mut f32) -> () { vst1q_f32(to, self.0) }
        fence() -> () {}
        prefetch(_from: *const f32) -> () {}
        add(self: Self, other: Self) -> Self { Self(vaddq_f32(self.0, other.0)) }
        sub(self: Self, other: Self) -> Self { Self(vsubq_f32(self.0, other.0)) }
        fma(self: Self, factor: Self, summand: Self) -> Self { Self(vfmaq_f32(summand.0, self.0, factor.0)) }
        relu(self: Self) -> (Self, u32) {
            let positive = vcgtzq_f32(self.0);
            let value = vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(self.0), positive));
            (Self(value), vaddvq_u32(vandq_u32(positive, vld1q_u32(BITS.as_ptr()))))
        }
        keep(self: Self, bits: u32) -> Self {
            let set = vtstq_u32(vdupq_n_u32(bits), vld1q_u32(BITS.as_ptr()));
            Self(vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(self.0), set)))
        }
        slopes(from: Self, to: Self, bytes: *mut u8) -> () {
            let above = vmaxq_f32(vmaxq_f32(from.0, to.0), vdupq_n_f32(0.0));
            let way = vmaxq_f32(vabdq_f32(to.0, from.0), vdupq_n_f32(f32::MIN_POSITIVE));
            let share = vminq_f32(vdivq_f32(above, way), vdupq_n_f32(1.0));
            let mut four = [0; 4];
            vst1q_u32(four.as_mut_ptr(), vcvtnq_u32_f32(vmulq_f32(share, vdupq_n_f32(255.0))));
            for (lane, slope) in four.into_iter().enumerate() {
                *bytes.add(lane) = slope as u8;
            }
        }
        weigh(self: Self, bytes: *const u8) -> Self {
            let four: [u32; 4] = std::array::from_fn(|lane| u32::from(*bytes.add(lane)));
            Self(vmulq_f32(self.0, vmulq_f32(vcvtq_f32_u32(vld1q_u32(four.as_ptr())), vdupq_n_f32(1.0 / 255.0))))
        }
    }
}

/// NEON.
#[derive(Clone, Copy, Debug)]
pub struct Neon(());

impl Neon {
    /// `None` where the processor does not have it.
    pub fn new() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Self(()))
    }
}

// 24 sums, 4 vectors of the panel and a pixel: 29 of 32 registers. Rust compiles everything for this architecture with NEON.
engine!(Neon, Four, [4, 5; 6], 4);
