//! A parameter's values on this machine, and how they lie on disk: f16 where it holds them, f32 where it does not.

use std::borrow::Cow;
use std::collections::BTreeMap;

use half::f16;
use half::slice::HalfFloatSliceExt as _;
use safetensors::{Dtype, View};

/// The smallest positive f16 with full precision; a batch-norm variance below it would lose digits or vanish.
const SMALLEST_NORMAL: f32 = 6.103_515_6e-5;

/// Parameters by their canonical names (`conv1_conv/kernel`), kernels `[height, width, in, out]`, dense `[in, out]`.
pub type Tensors = BTreeMap<String, Tensor>;

/// One parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its axes, slowest first.
    pub shape: Vec<usize>,
    /// Its values, as many as the product of `shape`.
    pub values: Vec<f32>,
}

impl Tensor {
    /// Zeros of a shape.
    pub fn zeros(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), values: vec![0.0; shape.iter().product()] }
    }

    /// The axes in another order: axis `i` of the result is axis `axes[i]` of this tensor.
    ///
    /// # Panics
    /// If `axes` is no permutation of this tensor's axes.
    #[must_use]
    pub fn permuted(&self, axes: &[usize]) -> Self {
        assert_eq!(axes.len(), self.shape.len(), "a permutation names every axis");
        let mut strides = vec![1; self.shape.len()];
        for axis in (0..self.shape.len().saturating_sub(1)).rev() {
            strides[axis] = strides[axis + 1] * self.shape[axis + 1];
        }
        let shape: Vec<usize> = axes.iter().map(|&axis| self.shape[axis]).collect();
        let strides: Vec<usize> = axes.iter().map(|&axis| strides[axis]).collect();
        let mut at = vec![0; shape.len()];
        let mut offset = 0;
        let values = (0..self.values.len())
            .map(|_| {
                let value = self.values[offset];
                for axis in (0..shape.len()).rev() {
                    at[axis] += 1;
                    offset += strides[axis];
                    if at[axis] < shape[axis] {
                        break;
                    }
                    offset -= strides[axis] * shape[axis];
                    at[axis] = 0;
                }
                value
            })
            .collect();
        Self { shape, values }
    }
}

/// What a parameter is written as: f16, but f32 where f16 overflows or where a variance would lose its precision.
pub(super) fn dtype_on_disk(name: &str, values: &[f32]) -> Dtype {
    let overflows = values.iter().any(|value| value.is_finite() && f16::from_f32(*value).is_infinite());
    let underflows =
        name.ends_with("/moving_variance") && values.iter().any(|value| (0.0..SMALLEST_NORMAL).contains(value));
    if overflows || underflows { Dtype::F32 } else { Dtype::F16 }
}

/// A parameter as bytes, little-endian, for safetensors.
pub(super) struct Encoded {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Encoded {
    pub(super) fn new(name: &str, tensor: &Tensor) -> Self {
        let dtype = dtype_on_disk(name, &tensor.values);
        let bytes = if dtype == Dtype::F32 {
            tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect()
        } else {
            let mut halves = vec![f16::ZERO; tensor.values.len()];
            halves.convert_from_f32_slice(&tensor.values);
            halves.iter().flat_map(|value| value.to_le_bytes()).collect()
        };
        Self { dtype, shape: tensor.shape.clone(), bytes }
    }
}

impl View for Encoded {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Values of a tensor on disk; `None` if its type holds no real numbers of 16, 32 or 64 bits.
pub(super) fn decode(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    match dtype {
        Dtype::F16 => {
            let halves: Vec<f16> = bytes.as_chunks().0.iter().map(|pair| f16::from_le_bytes(*pair)).collect();
            let mut values = vec![0.0; halves.len()];
            halves.convert_to_f32_slice(&mut values);
            Some(values)
        }
        Dtype::BF16 => Some(bytes.as_chunks().0.iter().map(|pair| half::bf16::from_le_bytes(*pair).to_f32()).collect()),
        Dtype::F32 => Some(bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect()),
        Dtype::F64 => Some(bytes.as_chunks().0.iter().map(|eight| f64::from_le_bytes(*eight) as f32).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_moves_every_value() {
        let tensor = Tensor { shape: vec![2, 3, 4], values: (0..24).map(|i| i as f32).collect() };
        let turned = tensor.permuted(&[2, 0, 1]);
        assert_eq!(turned.shape, [4, 2, 3]);
        for (a, b, c) in (0..2).flat_map(|a| (0..3).flat_map(move |b| (0..4).map(move |c| (a, b, c)))) {
            let (moved, there) = (turned.values[(c * 2 + a) * 3 + b], tensor.values[(a * 3 + b) * 4 + c]);
            assert_eq!(moved.to_bits(), there.to_bits());
        }
        assert_eq!(turned.permuted(&[1, 2, 0]), tensor);
    }

    #[test]
    fn what_f16_cannot_hold_is_written_as_f32() {
        assert_eq!(dtype_on_disk("conv1_conv/kernel", &[1.0, -3e4, 1e-7]), Dtype::F16);
        assert_eq!(dtype_on_disk("conv1_conv/kernel", &[7e4]), Dtype::F32);
        assert_eq!(dtype_on_disk("conv1_bn/moving_variance", &[1.0, 3e-5]), Dtype::F32);
        assert_eq!(dtype_on_disk("conv1_bn/moving_variance", &[1.0, 0.1]), Dtype::F16);
        for values in [vec![0.5, -2.0], vec![1e5, 0.25]] {
            let encoded = Encoded::new("a/kernel", &Tensor { shape: vec![2], values: values.clone() });
            assert_eq!(decode(encoded.dtype(), &encoded.data()), Some(values));
        }
    }
}
