//! Linked steps come in; where every value and every gradient lives goes out.
//!
//! Images lie in slots, pixel after pixel, channels last. Parts of a concatenation are written side by side into one
//! image, so that concatenating costs nothing; a residual sum grows in the place of its shortcut where nothing reads that
//! afterwards. A slot is used again as soon as its last reader has run, so that the memory of an image is that of the
//! widest place in the network and not of its length.

use super::lanes::MASK;
use crate::nn::NnError;
use crate::nn::steps::{Fused, Operation, Step, StepId};

/// Where a value lies: `height x width` pixels of `channels`, `stride` apart, from `offset` on.
#[derive(Clone, Copy, Debug)]
pub struct View {
    pub slot: usize,
    pub offset: usize,
    pub stride: usize,
    pub size: [usize; 2],
    pub channels: usize,
}

impl View {
    pub fn pixels(&self) -> usize {
        self.size[0] * self.size[1]
    }
}

/// How the gradient of a residual gets its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResidualGradient {
    /// It lives where the gradient of the sum is: nothing to do.
    Aliased,
    /// It is that of the sum.
    Copied,
    /// That of the sum is added to it.
    Added,
}

/// Placement of one step.
#[derive(Clone, Copy, Debug)]
pub struct Placement {
    /// Its value.
    pub value: View,
    /// The gradient of its value.
    pub gradient: View,
    /// Whether the residual already lies where the sum goes.
    pub in_place: bool,
    /// Whether the gradient of the (first) input has earlier summands.
    pub accumulate: bool,
    /// What happens to the gradient of the residual.
    pub residual: ResidualGradient,
    /// Where the bits or slopes of its ReLU lie, if it has one.
    pub gate: GatePlace,
    /// Whether the gradient of its (first) input is complete after this step, which does at once what is due then: takes it
    /// through the input's ReLU, or takes sums over it.
    pub completes: bool,
}

/// Where bits and slopes lie: those of a concatenation's parts side by side, as their values do.
#[derive(Clone, Copy, Debug)]
pub struct GatePlace {
    /// The step that keeps them.
    pub holder: StepId,
    /// The first channel.
    pub channel: usize,
    /// Channels of a pixel.
    pub channels: usize,
    /// Whether another step `completes` the gradient of the step's value, so that nothing of that is left when its turn comes.
    pub passed: bool,
}

/// Placement of all steps, and the slots' lengths in numbers.
#[derive(Clone, Debug)]
pub struct Layout {
    pub steps: Vec<Placement>,
    pub slots: Vec<usize>,
}

impl Layout {
    /// Places values and gradients that are not kept longer than they are read; an error names a step whose value is both a
    /// part of a concatenation and read alone.
    pub fn new(steps: &[Step<impl Fused>]) -> Result<Self, NnError> {
        let roots = Roots::new(steps)?;
        let mut slots = Slots::default();
        let forward = place_values(steps, &roots, &mut slots);
        slots.holders.fill(0);
        Ok(Self::with_gradients(steps, &roots, &forward, slots))
    }

    /// The same where every value is kept until the end.
    pub fn keeping(steps: &[Step<impl Fused>]) -> Result<Self, NnError> {
        let roots = Roots::new(steps)?;
        let mut slots = Slots::default();
        // What is only a part of another's image needs no memory of its own.
        let length = |step: StepId| if roots.of[step].0 == step { roots.length[step] } else { 0 };
        let own: Vec<usize> = (0..steps.len()).map(|step| slots.take(length(step))).collect();
        let forward: Vec<(usize, bool)> = roots.of.iter().map(|&(root, _)| (own[root], false)).collect();
        Ok(Self::with_gradients(steps, &roots, &forward, slots))
    }

    fn with_gradients(steps: &[Step<impl Fused>], roots: &Roots, forward: &[(usize, bool)], mut slots: Slots) -> Self {
        let backward = place_gradients(steps, roots, &mut slots);
        let completing: Vec<Option<StepId>> = (0..steps.len()).map(|id| completing(steps, roots, id)).collect();
        let view = |step: StepId, slot: usize| {
            let [height, width, channels] = steps[step].shape;
            let (root, offset) = roots.of[step];
            View { slot, offset, stride: steps[root].shape[2], size: [height, width], channels }
        };
        let steps = (0..steps.len())
            .map(|step| {
                let root = roots.of[step].0;
                let ((value, in_place), gradient) = (forward[step], &backward[step]);
                Placement {
                    value: view(step, value),
                    gradient: view(step, backward[root].slot),
                    in_place,
                    accumulate: gradient.accumulate,
                    residual: gradient.residual,
                    gate: gate(steps, roots, step, completing[root].is_some()),
                    completes: steps[step].inputs.first().is_some_and(|&input| completing[input] == Some(step)),
                }
            })
            .collect();
        Self { steps, slots: slots.lengths }
    }
}

/// Which image each value is a part of.
struct Roots {
    /// The step whose image it is, and the first channel there.
    of: Vec<(StepId, usize)>,
    /// Per root: the first step that writes into it.
    first: Vec<StepId>,
    /// Per root: the last step that reads it; the number of steps for the last value.
    last: Vec<StepId>,
    /// Per root: numbers in the image.
    length: Vec<usize>,
}

impl Roots {
    fn new(steps: &[Step<impl Fused>]) -> Result<Self, NnError> {
        let count = steps.len();
        let mut of: Vec<(StepId, usize)> = (0..count).map(|step| (step, 0)).collect();
        for (id, step) in steps.iter().enumerate().rev() {
            if !step.is_concat() {
                continue;
            }
            let (root, mut channel) = of[id];
            for &input in &step.inputs {
                if of[input].0 != input {
                    return Err(NnError::Unfusable { layer: steps[input].name.clone() });
                }
                of[input] = (root, channel);
                channel += steps[input].shape[2];
            }
        }
        let (mut first, mut last): (Vec<StepId>, _) = ((0..count).collect(), vec![count; count]);
        for (id, step) in steps.iter().enumerate() {
            let root = of[id].0;
            first[root] = first[root].min(id);
            if step.is_concat() {
                continue;
            }
            for input in reads(step) {
                if of[input].0 != input {
                    return Err(NnError::Unfusable { layer: steps[input].name.clone() });
                }
                last[input] = id;
            }
        }
        let length = steps.iter().map(|step| step.shape.iter().product()).collect();
        Ok(Self { of, first, last, length })
    }
}

/// The values a step reads, its residual included.
fn reads(step: &Step<impl Fused>) -> impl Iterator<Item = StepId> {
    step.inputs.iter().copied().chain(step.residual())
}

/// Where the bits of a step's ReLU lie: side by side in a concatenation, if every part begins with a whole byte.
fn gate(steps: &[Step<impl Fused>], roots: &Roots, id: StepId, passed: bool) -> GatePlace {
    let (root, channel) = roots.of[id];
    if together(roots, root) {
        GatePlace { holder: root, channel, channels: steps[root].shape[2], passed }
    } else {
        GatePlace { holder: id, channel: 0, channels: steps[id].shape[2], passed }
    }
}

fn together(roots: &Roots, root: StepId) -> bool {
    roots.of.iter().all(|&(of, channel)| of != root || channel.is_multiple_of(MASK))
}

/// The convolution after whose turn, on the way back, the gradient of image `root` is complete and can go through the ReLUs
/// that it came out of: the image's first reader, if there is a ReLU and its bits lie together.
fn completing(steps: &[Step<impl Fused>], roots: &Roots, root: StepId) -> Option<StepId> {
    let parts = roots.of.iter().zip(steps).filter(|((of, _), _)| *of == root);
    if !parts.into_iter().any(|(_, step)| step.has_relu()) || !together(roots, root) {
        return None;
    }
    let first = steps.iter().position(|step| !step.is_concat() && reads(step).any(|read| read == root))?;
    let is_input = steps[first].inputs.first() == Some(&root);
    (is_input && matches!(steps[first].operation, Operation::Convolution(_))).then_some(first)
}

/// Slots while steps are walked through.
#[derive(Default)]
struct Slots {
    lengths: Vec<usize>,
    holders: Vec<usize>,
}

impl Slots {
    /// A free slot: the tightest that fits, else the largest, which grows, else a new one.
    fn take(&mut self, length: usize) -> usize {
        let free = (0..self.lengths.len()).filter(|&slot| self.holders[slot] == 0);
        let slot = free
            .min_by_key(|&slot| {
                let own = self.lengths[slot];
                if own >= length { (0, own) } else { (1, usize::MAX - own) }
            })
            .unwrap_or_else(|| {
                self.lengths.push(0);
                self.holders.push(0);
                self.lengths.len() - 1
            });
        self.lengths[slot] = self.lengths[slot].max(length);
        self.holders[slot] = 1;
        slot
    }
}

/// For each step the slot of its image and whether it is that of its residual.
fn place_values(steps: &[Step<impl Fused>], roots: &Roots, slots: &mut Slots) -> Vec<(usize, bool)> {
    let mut placed: Vec<Option<usize>> = vec![None; steps.len()];
    let mut in_place = vec![false; steps.len()];
    for (id, step) in steps.iter().enumerate() {
        let root = roots.of[id].0;
        if placed[root].is_none() {
            let shortcut = step.residual().filter(|&shortcut| {
                roots.of[id].0 == id && roots.last[shortcut] == id && !step.inputs.contains(&shortcut)
            });
            in_place[id] = shortcut.is_some();
            let slot = match shortcut.and_then(|shortcut| placed[shortcut]) {
                Some(slot) => {
                    slots.holders[slot] += 1;
                    slot
                }
                None => slots.take(roots.length[root]),
            };
            placed[root] = Some(slot);
        }
        for input in reads(step).filter(|&input| roots.last[input] == id) {
            if let Some(slot) = placed[input] {
                slots.holders[slot] -= 1;
            }
        }
    }
    let slot_of = |id: StepId| placed[roots.of[id].0].unwrap_or_default();
    (0..steps.len()).map(|id| (slot_of(id), in_place[id])).collect()
}

/// What [`place_gradients`] finds for a step.
struct GradientPlace {
    slot: usize,
    accumulate: bool,
    residual: ResidualGradient,
}

fn place_gradients(steps: &[Step<impl Fused>], roots: &Roots, slots: &mut Slots) -> Vec<GradientPlace> {
    let mut placed: Vec<Option<usize>> = vec![None; steps.len()];
    let mut found: Vec<GradientPlace> = Vec::new();
    for (id, step) in steps.iter().enumerate().rev() {
        let root = roots.of[id].0;
        let own = *placed[root].get_or_insert_with(|| slots.take(roots.length[root]));
        let mut place = GradientPlace { slot: 0, accumulate: false, residual: ResidualGradient::Added };
        if !step.is_concat() {
            if let Some(shortcut) = step.residual().filter(|&shortcut| placed[shortcut].is_none()) {
                if root == id && !step.inputs.contains(&shortcut) {
                    slots.holders[own] += 1;
                    placed[shortcut] = Some(own);
                    place.residual = ResidualGradient::Aliased;
                } else {
                    placed[shortcut] = Some(slots.take(roots.length[shortcut]));
                    place.residual = ResidualGradient::Copied;
                }
            }
            for &input in &step.inputs {
                place.accumulate = placed[input].is_some();
                placed[input].get_or_insert_with(|| slots.take(roots.length[input]));
            }
        }
        if roots.first[root] == id && id > 0 {
            slots.holders[own] -= 1;
        }
        found.push(place);
    }
    found.reverse();
    for (place, slot) in found.iter_mut().zip(&placed) {
        place.slot = slot.unwrap_or_default();
    }
    found
}
