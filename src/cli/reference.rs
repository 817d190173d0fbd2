//! The map that others are held against, made of many midpoints: kept in a file, where that is asked for, for it costs minutes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use half::f16;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

use super::subject::Subject;
use crate::attribution::integrated_gradients::Update;
use crate::attribution::quadrature::Rule;
use crate::attribution::{Attribution, Cancel};
use crate::nn::weights::hexadecimal;

/// The reference of so many midpoints from its file in `store`, else made and kept there, if there is such a folder. `question` is
/// what the subject explains, as a part of a file's name.
pub fn reference(
    (store, steps): (Option<&Path>, u32),
    subject: &mut Subject,
    question: &str,
    hear: &mut dyn FnMut(Update),
) -> anyhow::Result<Vec<f32>> {
    let model = subject.model;
    let kept = store.map(|folder| Kept {
        path: folder.join(format!("{}_{}_{question}.safetensors", subject.photograph.name, model.network().name())),
        of: HashMap::from([
            (WEIGHTS.to_owned(), model.weights_hash().to_owned()),
            (STEPS.to_owned(), steps.to_string()),
            (INPUT.to_owned(), hexadecimal(&subject.photograph.input.sha256())),
            (QUESTION.to_owned(), question.to_owned()),
        ]),
    });
    if let Some(reference) = kept.as_ref().map(Kept::read).transpose()?.flatten() {
        return Ok(reference);
    }
    let (integral, function) = subject.integral();
    let reference = integral.with_rule(function, &Rule::midpoints(steps as usize), &Cancel::default(), hear)?;
    kept.map_or(Ok(()), |kept| kept.write(&reference))?;
    Ok(reference.map)
}

/// What a file of a reference says it is of.
const WEIGHTS: &str = "weights";
const STEPS: &str = "reference_steps";
const INPUT: &str = "input";
const QUESTION: &str = "question";

/// A reference in a file: `attribution`, f16 `[side, side, 3]`, divided by `scale`, f32 `[1]`, its largest magnitude.
struct Kept {
    path: PathBuf,
    /// Of which weights and input, and with how many midpoints.
    of: HashMap<String, String>,
}

impl Kept {
    /// The map, if the file is there and is of the same.
    fn read(&self) -> anyhow::Result<Option<Vec<f32>>> {
        if !self.path.exists() {
            return Ok(None);
        }
        let cannot = || format!("cannot read {}: move it away to make it anew", self.path.display());
        let bytes = std::fs::read(&self.path).with_context(cannot)?;
        let (_, header) = SafeTensors::read_metadata(&bytes).with_context(cannot)?;
        if header.metadata().as_ref() != Some(&self.of) {
            return Ok(None);
        }
        let tensors = SafeTensors::deserialize(&bytes).with_context(cannot)?;
        let (halves, scale) =
            (tensors.tensor("attribution").with_context(cannot)?, tensors.tensor("scale").with_context(cannot)?);
        let scale = f32::from_le_bytes(scale.data().try_into().with_context(cannot)?);
        let values = halves.data().as_chunks().0.iter().map(|half| scale * f16::from_le_bytes(*half).to_f32());
        Ok(Some(values.collect()))
    }

    fn write(&self, reference: &Attribution) -> anyhow::Result<()> {
        let cannot = || format!("cannot write {}", self.path.display());
        std::fs::create_dir_all(self.path.parent().unwrap_or(Path::new("."))).with_context(cannot)?;
        let scale = reference.map.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        let share = |value: &f32| f16::from_f32(value / scale.max(f32::MIN_POSITIVE)).to_le_bytes();
        let halves: Vec<u8> = reference.map.iter().flat_map(share).collect();
        let scale = scale.to_le_bytes();
        let tensors = [
            ("attribution", TensorView::new(Dtype::F16, reference.shape.to_vec(), &halves)?),
            ("scale", TensorView::new(Dtype::F32, vec![1], &scale)?),
        ];
        serialize_to_file(tensors, Some(self.of.clone()), &self.path).with_context(cannot)
    }
}
