//! A number of threads and a precision come in; how many products and sums a second the processor does at best goes out: the
//! yardstick that kernels are held against.
//!
//! Each thread runs independent chains of fused multiply-adds, `x = x * a + b` or `x = x + a b + c d`, that stay in registers and are
//! enough to hide the instruction's latency (4 to 6 cycles, two a cycle). No memory, no packing, no borders: no kernel can be faster,
//! and a clock that falls under load falls for both. Threads start together, and the best of many short tries counts,
//! for whatever else the machine does can only make a try slower.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};

#[cfg(target_arch = "x86_64")]
use super::packed;
use crate::nn::Precision;

/// Chains a thread runs at once: with factor and summand they fill 16 registers, or 32.
const CHAINS: [usize; 2] = [12, 24];
/// Steps of every chain in one try: a few milliseconds.
const STEPS: usize = 400_000;
/// How often it is tried.
const TRIES: usize = 100;
/// Factor and summand: chains tend to 1, far from infinities and from numbers too small for full speed.
const FACTOR: f32 = 0.75;
const SUMMAND: f32 = 0.25;

/// The best rate of some threads together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    /// Threads that ran at once.
    pub threads: usize,
    /// What products were computed in.
    #[serde(default)]
    pub precision: Precision,
    /// The instructions that gave it.
    pub instructions: String,
    /// Billions of products and sums a second, both counted.
    pub gflops: f64,
}

/// One kind of instruction.
struct Kind {
    name: &'static str,
    precision: Precision,
    /// Products of a step of all chains.
    products: usize,
    /// So many steps of every chain.
    run: fn(usize),
}

/// Whether 512-bit vectors do at least a fifth more than 256-bit ones, where the processor has both; takes a few milliseconds.
#[cfg(target_arch = "x86_64")]
pub(super) fn is_512_faster() -> bool {
    is_faster("AVX-512", "AVX2 + FMA")
}

/// Whether products of bf16 are at least a fifth more than those of f32 at best; likewise.
#[cfg(target_arch = "x86_64")]
pub(super) fn is_bf16_faster() -> bool {
    is_faster("AVX-512 BF16", "AVX-512") && is_faster("AVX-512 BF16", "AVX2 + FMA")
}

#[cfg(target_arch = "x86_64")]
fn is_faster(one: &str, other: &str) -> bool {
    const STEPS: usize = 20_000;
    const TRIES: usize = 20;
    let kinds = kinds();
    let seconds_of_a_product = |name: &str| {
        let kind = kinds.iter().find(|kind| kind.name == name)?;
        let seconds = |_| {
            let begun = Instant::now();
            (kind.run)(STEPS);
            begun.elapsed().as_secs_f64()
        };
        Some((0..TRIES).map(seconds).fold(f64::INFINITY, f64::min) / kind.products as f64)
    };
    let [one, other] = [one, other].map(seconds_of_a_product);
    one.zip(other).is_some_and(|(one, other)| other > 1.2 * one)
}

/// The peak of `threads` threads in this precision, by the fastest instructions that the processor has for it, if it has some.
pub fn peak(threads: usize, precision: Precision) -> Option<Peak> {
    let threads = threads.max(1);
    let rates = kinds().into_iter().filter(|kind| kind.precision == precision).map(|kind| {
        let best = seconds(threads, kind.run);
        let operations = (2 * kind.products * STEPS * threads) as f64;
        Peak { threads, precision, instructions: kind.name.to_owned(), gflops: operations / best / 1e9 }
    });
    rates.max_by(|one, other| one.gflops.total_cmp(&other.gflops))
}

/// The shortest time from the moment at which all threads stand ready until the last is done.
///
/// The same threads try again and again and wait awake for each other: a thread that sleeps is woken too late, and one that
/// has just begun may share a core with another for longer than a try takes.
fn seconds(threads: usize, run: fn(usize)) -> f64 {
    let arrived = AtomicUsize::new(0);
    let one = || -> Vec<(Instant, Instant)> {
        let attempt = |round: usize| {
            arrived.fetch_add(1, Ordering::SeqCst);
            while arrived.load(Ordering::SeqCst) < (round + 1) * threads {
                std::hint::spin_loop();
            }
            let begun = Instant::now();
            run(STEPS);
            (begun, Instant::now())
        };
        (0..TRIES).map(attempt).collect()
    };
    let times: Vec<Vec<(Instant, Instant)>> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(one)).collect();
        let own = one();
        others.into_iter().filter_map(|thread| thread.join().ok()).chain([own]).collect()
    });
    let of_round = |round: usize| {
        let begun = times.iter().map(|rounds| rounds[round].0).min();
        let ended = times.iter().map(|rounds| rounds[round].1).max();
        begun.zip(ended).map_or(f64::INFINITY, |(begun, ended)| (ended - begun).as_secs_f64())
    };
    (0..TRIES).map(of_round).fold(f64::INFINITY, f64::min)
}

/// What this processor has.
fn kinds() -> Vec<Kind> {
    #[cfg(target_arch = "x86_64")]
    {
        let mut kinds = Vec::new();
        let (single, pairs) = (Precision::F32, Precision::Bf16);
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: the processor has AVX2 and FMA.
            let run = |steps| unsafe { x86::avx2(steps) };
            kinds.push(Kind { name: "AVX2 + FMA", precision: single, products: 8 * CHAINS[0], run });
        }
        if std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512.
            let run = |steps| unsafe { x86::avx512(steps) };
            kinds.push(Kind { name: "AVX-512", precision: single, products: 16 * CHAINS[1], run });
        }
        if packed::Avx512::bf16().is_some() {
            // SAFETY: the processor has AVX-512 and its products of bf16.
            let run = |steps| unsafe { x86::avx512_bf16(steps) };
            kinds.push(Kind { name: "AVX-512 BF16", precision: pairs, products: 32 * CHAINS[1], run });
        }
        if !kinds.is_empty() {
            return kinds;
        }
    }
    let name = if cfg!(target_arch = "aarch64") { "NEON" } else { "portable" };
    vec![Kind { name, precision: Precision::F32, products: 4 * CHAINS[0], run: portable }]
}

/// Four lanes that every compiler turns into a vector; fused where the target always has it.
fn portable(steps: usize) {
    let (factor, summand) = (black_box([FACTOR; 4]), black_box([SUMMAND; 4]));
    let mut chains = [[0.0f32; 4]; CHAINS[0]];
    for _ in 0..steps {
        for chain in &mut chains {
            for lane in 0..4 {
                chain[lane] = if cfg!(target_arch = "aarch64") {
                    chain[lane].mul_add(factor[lane], summand[lane])
                } else {
                    chain[lane] * factor[lane] + summand[lane]
                };
            }
        }
    }
    black_box(chains);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m512, __m512bh, _mm256_fmadd_ps, _mm256_set1_ps, _mm512_dpbf16_ps, _mm512_fmadd_ps, _mm512_set1_ps,
    };
    use std::hint::black_box;
    use std::mem::transmute;

    use super::{CHAINS, FACTOR, SUMMAND};

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn avx2(steps: usize) {
        let (factor, summand) = (_mm256_set1_ps(black_box(FACTOR)), _mm256_set1_ps(black_box(SUMMAND)));
        let mut chains = [_mm256_set1_ps(0.0); CHAINS[0]];
        for _ in 0..steps {
            for chain in &mut chains {
                *chain = _mm256_fmadd_ps(*chain, factor, summand);
            }
        }
        black_box(chains);
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn avx512(steps: usize) {
        let (factor, summand) = (_mm512_set1_ps(black_box(FACTOR)), _mm512_set1_ps(black_box(SUMMAND)));
        let mut chains = [_mm512_set1_ps(0.0); CHAINS[1]];
        for _ in 0..steps {
            for chain in &mut chains {
                *chain = _mm512_fmadd_ps(*chain, factor, summand);
            }
        }
        black_box(chains);
    }

    /// Products of noughts, for sums would grow.
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) fn avx512_bf16(steps: usize) {
        let pairs = black_box(_mm512_set1_ps(0.0));
        // SAFETY: both are 64 bytes, and any are pairs of bf16.
        let pairs = unsafe { transmute::<__m512, __m512bh>(pairs) };
        let mut chains = [_mm512_set1_ps(0.0); CHAINS[1]];
        for _ in 0..steps {
            for chain in &mut chains {
                *chain = _mm512_dpbf16_ps(*chain, pairs, pairs);
            }
        }
        black_box(chains);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The product of the `gemm` crate, one thread, so that the yardstick is not below what is held against it.
    fn product_rate() -> f64 {
        let side = 384;
        let (left, right) = (vec![0.5f32; side * side], vec![0.25f32; side * side]);
        let mut out = vec![0.0f32; side * side];
        let rate = |out: &mut [f32]| {
            let begun = Instant::now();
            // SAFETY: all three are square matrices of `side`, row after row.
            unsafe {
                let n = side as isize;
                gemm::gemm(
                    side,
                    side,
                    side,
                    out.as_mut_ptr(),
                    1,
                    n,
                    false,
                    left.as_ptr(),
                    1,
                    n,
                    right.as_ptr(),
                    1,
                    n,
                    0.0,
                    1.0,
                    false,
                    false,
                    false,
                    gemm::Parallelism::None,
                );
            }
            2.0 * (side * side * side) as f64 / begun.elapsed().as_secs_f64() / 1e9
        };
        (0..20).map(|_| rate(&mut out)).fold(0.0, f64::max)
    }

    #[test]
    fn nothing_is_faster_than_the_peak() {
        let (peak, product) = (peak(1, Precision::F32).unwrap(), product_rate());
        assert!(peak.gflops >= 0.95 * product, "{peak:?} below a matrix product's {product:.1}");
        assert!(peak.gflops < 1000.0, "{peak:?}: no core does that, the chains were optimised away");
    }
}
