//! What whoever imports says of a file: `--variant` and `--preprocessing`.

use std::path::Path;
use std::str::FromStr;

use super::super::WeightsError;
use super::super::description::Description;
use super::Decided;
use crate::nn::Network;
use crate::nn::graph::{BottleneckStride, Mixed10Pool, Preprocessing, Variant};

pub(super) const VARIANT_OPTION: &str =
    "--variant keras, torchvision, timm or tensorflow-2015, or --variant mixed10=average or mixed10=max";
pub(super) const PREPROCESSING_OPTION: &str = "--preprocessing caffe, signed-unit, torch or centred128";

/// What was said; nothing where names are to decide.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// Which variant of the topology.
    pub variant: Option<VariantChoice>,
    /// What input the network expects.
    pub preprocessing: Option<Preprocessing>,
}

/// `--variant`: settings with commas between them, the later over the earlier.
#[derive(Clone, Debug, PartialEq)]
pub struct VariantChoice(Vec<Setting>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Setting {
    Keras,
    Torchvision,
    Timm,
    Tensorflow2015,
    Stride(BottleneckStride),
    CountPadding(bool),
    Mixed10(Mixed10Pool),
    Epsilon(f64),
}

/// The settings as a person writes them, `epsilon=NUMBER` aside.
const SETTINGS: [(&str, Setting); 10] = [
    ("keras", Setting::Keras),
    ("torchvision", Setting::Torchvision),
    ("timm", Setting::Timm),
    ("tensorflow-2015", Setting::Tensorflow2015),
    ("v1", Setting::Stride(BottleneckStride::First1x1)),
    ("v1.5", Setting::Stride(BottleneckStride::Middle3x3)),
    ("average=skip-padding", Setting::CountPadding(false)),
    ("average=count-padding", Setting::CountPadding(true)),
    ("mixed10=average", Setting::Mixed10(Mixed10Pool::Average)),
    ("mixed10=max", Setting::Mixed10(Mixed10Pool::Max)),
];

impl FromStr for VariantChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',').map(|word| setting(word.trim())).collect::<Result<_, _>>().map(Self)
    }
}

fn setting(word: &str) -> Result<Setting, String> {
    if let Some(number) = word.strip_prefix("epsilon=") {
        let epsilon: Option<f64> = number.parse().ok().filter(|epsilon: &f64| epsilon.is_finite() && *epsilon > 0.0);
        return epsilon.map(Setting::Epsilon).ok_or_else(|| format!("`{number}` is no positive number"));
    }
    SETTINGS.iter().find(|(name, _)| *name == word).map(|(_, setting)| *setting).ok_or_else(|| {
        let names: Vec<&str> = SETTINGS.iter().map(|(name, _)| *name).collect();
        format!("`{word}` is none of {}, epsilon=NUMBER", names.join(", "))
    })
}

impl Choices {
    /// Puts what was said over what names decide.
    pub(super) fn apply(&self, network: Network, decided: &mut Decided) -> Result<(), WeightsError> {
        for setting in self.variant.iter().flat_map(|VariantChoice(settings)| settings) {
            setting.apply(network, decided)?;
        }
        if let Some(preprocessing) = self.preprocessing {
            decided.variant.preprocessing = preprocessing;
            decided.open_preprocessing = None;
        }
        Ok(())
    }

    /// An error where what was said is not what a file says of itself, for that is what would count.
    pub(super) fn check_against(&self, file: &Path, described: &Description) -> Result<(), WeightsError> {
        let variant = described.variant.clone();
        let mut chosen = Decided { variant, open_topology: None, open_preprocessing: None };
        self.apply(described.network, &mut chosen)?;
        let pairs = in_words(&described.variant).into_iter().zip(in_words(&chosen.variant));
        let (described, chosen): (Vec<_>, Vec<_>) = pairs.filter(|(described, chosen)| described != chosen).unzip();
        if chosen.is_empty() {
            return Ok(());
        }
        let (described, chosen) = (described.join(", "), chosen.join(", "));
        Err(WeightsError::Contradiction { file: file.to_path_buf(), described, chosen })
    }
}

/// What the options can say of a variant, as they say it.
fn in_words(variant: &Variant) -> [String; 5] {
    let preprocessing = match variant.preprocessing {
        Preprocessing::Caffe => "caffe",
        Preprocessing::SignedUnit => "signed-unit",
        Preprocessing::Torch => "torch",
        Preprocessing::Centred128 => "centred128",
    };
    let setting = |setting: Setting| format!("--variant {}", setting.word());
    [
        setting(Setting::Stride(variant.bottleneck_stride)),
        setting(Setting::CountPadding(variant.average_counts_padding)),
        setting(Setting::Mixed10(variant.mixed10_pool)),
        setting(Setting::Epsilon(variant.epsilon)),
        format!("--preprocessing {preprocessing}"),
    ]
}

impl Setting {
    fn apply(self, network: Network, decided: &mut Decided) -> Result<(), WeightsError> {
        if !self.belongs_to(network) {
            return Err(self.refused(network));
        }
        let variant = &mut decided.variant;
        match self {
            Self::Keras => *variant = topology_of(&Variant::keras(network, None), variant),
            Self::Timm if network == Network::InceptionResNetV2 => {
                *variant = topology_of(&Variant::keras(network, None), variant);
            }
            Self::Torchvision | Self::Timm => *variant = topology_of(&Variant::torchvision(network, None), variant),
            Self::Tensorflow2015 => *variant = topology_of(&Variant::tensorflow_2015(None), variant),
            Self::Stride(stride) => variant.bottleneck_stride = stride,
            Self::CountPadding(count) => variant.average_counts_padding = count,
            Self::Mixed10(pool) => variant.mixed10_pool = pool,
            Self::Epsilon(epsilon) => variant.epsilon = epsilon,
        }
        if matches!(self, Self::Keras | Self::Torchvision | Self::Timm | Self::Tensorflow2015 | Self::Mixed10(_)) {
            decided.open_topology = None;
        }
        Ok(())
    }

    fn belongs_to(self, network: Network) -> bool {
        match self {
            Self::Keras | Self::Timm | Self::Epsilon(_) => true,
            Self::Torchvision => network != Network::InceptionResNetV2,
            Self::Tensorflow2015 | Self::Mixed10(_) => network == Network::InceptionV3,
            Self::Stride(_) => network == Network::ResNet50,
            Self::CountPadding(_) => network != Network::ResNet50,
        }
    }

    /// As a person writes it.
    fn word(self) -> String {
        if let Self::Epsilon(epsilon) = self {
            return format!("epsilon={epsilon}");
        }
        SETTINGS.iter().find(|(_, setting)| *setting == self).map_or_else(String::new, |(name, _)| (*name).to_owned())
    }

    fn refused(self, network: Network) -> WeightsError {
        let remedy = match network {
            Network::ResNet50 => "choose keras, torchvision, timm, v1 or v1.5",
            Network::InceptionV3 => "choose keras, torchvision, timm, tensorflow-2015, average=... or mixed10=...",
            Network::InceptionResNetV2 => "choose keras, timm or average=...",
        };
        WeightsError::Choice { network, choice: self.word(), remedy }
    }
}

/// The topology of one variant with what the file itself shows (batch norm, classes) and the preprocessing of another.
fn topology_of(variant: &Variant, rest: &Variant) -> Variant {
    Variant { batch_norm: rest.batch_norm, preprocessing: rest.preprocessing, head: rest.head, ..variant.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_what_is_none_is_named() {
        let choice: VariantChoice = "keras, mixed10=max,epsilon=1e-5".parse().unwrap();
        let expected = [Setting::Keras, Setting::Mixed10(Mixed10Pool::Max), Setting::Epsilon(1e-5)];
        assert_eq!(choice.0, expected);
        assert!("v2".parse::<VariantChoice>().unwrap_err().contains("`v2` is none of keras"));
        assert!("epsilon=-1".parse::<VariantChoice>().is_err());
    }

    #[test]
    fn a_file_that_describes_itself_is_not_contradicted() {
        let network = Network::InceptionV3;
        let variant = Variant { epsilon: 1e-5, ..Variant::tensorflow_2015(Some(5)) };
        let described = Description { network, variant, provenance: String::new(), licence: String::new() };
        let check = |variant: Option<&str>, preprocessing| {
            let variant = variant.map(|words| words.parse().unwrap());
            Choices { variant, preprocessing }.check_against(Path::new("a.safetensors"), &described)
        };
        assert!(check(None, None).is_ok());
        assert!(check(Some("mixed10=max"), Some(Preprocessing::Centred128)).is_ok());
        assert!(check(Some("tensorflow-2015,epsilon=1e-5"), None).is_ok());
        for (variant, preprocessing, words) in [
            (None, Some(Preprocessing::Torch), ["itself --preprocessing centred128,", "mean --preprocessing torch;"]),
            (Some("mixed10=average"), None, ["itself --variant mixed10=max,", "mean --variant mixed10=average;"]),
            (Some("tensorflow-2015"), None, ["itself --variant epsilon=0.00001,", "mean --variant epsilon=0.001;"]),
            (Some("v1"), None, ["InceptionV3", "no variant `v1`"]),
        ] {
            let said = check(variant, preprocessing).unwrap_err().to_string();
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
    }
}
