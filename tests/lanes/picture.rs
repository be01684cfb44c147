//! A photograph, and pictures derived from it.

use std::io::Cursor;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, Rgb, RgbImage};
use session_migrate::client::Asset;
use tempfile::TempDir;
use upload_canister::api::AssetType;

/// Size, in bytes, of the photograph with which the first public release was tested.
const ORIGINAL_BYTES: usize = 21_827_484;

/// Returns a picture with edges, gradients and grain, so that it neither compresses to nothing nor is noise.
fn scene() -> DynamicImage {
    let pixel = |x: u32, y: u32| {
        let grain = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503)) >> 27;
        let disc = (x.abs_diff(400)).pow(2) + (y.abs_diff(300)).pow(2) < 180 * 180;
        let base = if disc { [60, 120, 40] } else { [(x / 4) as u8, (y / 3) as u8, 180] };
        Rgb(base.map(|channel: u8| channel.saturating_add(grain as u8)))
    };
    DynamicImage::ImageRgb8(RgbImage::from_fn(800, 600, pixel))
}

fn jpeg(picture: &DynamicImage, quality: u8) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, quality)).unwrap();
    bytes.into_inner()
}

fn save(folder: &TempDir, name: &str, asset_type: AssetType, bytes: &[u8]) -> Asset {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    Asset::open(Path::new(&path), name, asset_type).unwrap()
}

/// Returns the photograph: a JPEG, followed by as many bytes as a camera's raw data would add.
pub fn original(folder: &TempDir) -> Asset {
    let mut bytes = jpeg(&scene(), 95);
    let mut state = 1u64;
    bytes.resize_with(ORIGINAL_BYTES, || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    });
    save(folder, "original.jpg", AssetType::Original, &bytes)
}

/// Returns a display version, a thumbnail and a placeholder of the photograph.
pub fn derivatives(folder: &TempDir) -> Vec<Asset> {
    let made_from = scene();
    let made = [
        ("display.jpg", AssetType::Preview, 600, 90),
        ("thumbnail.jpg", AssetType::Thumbnail, 200, 80),
        ("placeholder.jpg", AssetType::Derivative, 16, 40),
    ];
    let made = made.map(|(name, asset_type, width, quality)| {
        let picture = made_from.resize(width, width, FilterType::Triangle);
        save(folder, name, asset_type, &jpeg(&picture, quality))
    });
    made.into()
}
