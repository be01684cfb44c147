// The metadata of a file, as sent to the canister.

import type { AssetMetadata, AssetMetadataBase, AssetType } from './canister.js';

/** The last millisecond since 1970 whose nanoseconds fit into 64 bits: in the year 2554. */
const LATEST_MS = 18_446_744_073_709;

export interface Description {
  /** Used instead of the file's own name. */
  name?: string | undefined;
  description?: string | undefined;
  tags?: string[] | undefined;
  /** The role of the file in its memory; `Original` by default. */
  assetType?: AssetType | undefined;
}

/** The fields of a `File` that a `Blob` lacks. */
export interface Named {
  name?: string;
  lastModified?: number;
}

/** Depends only on the arguments, since a repeated begin must have the same metadata. */
export function metadataOf(file: Blob & Named, sha256: Uint8Array | undefined, given: Description): AssetMetadata {
  const modified = timeOf(file.lastModified ?? 0);
  const base: AssetMetadataBase = {
    name: given.name ?? file.name ?? 'unnamed',
    description: optional(given.description),
    tags: given.tags ?? [],
    asset_type: given.assetType ?? { Original: null },
    bytes: BigInt(file.size),
    mime_type: file.type || 'application/octet-stream',
    sha256: optional(sha256),
    created_at: modified,
    updated_at: modified,
    deleted_at: [],
    width: [],
    height: [],
    url: [],
    storage_key: [],
    bucket: [],
    asset_location: [],
    processing_status: [],
    processing_error: [],
  };
  return ofKind(base);
}

/** Nanoseconds in a `nat64`, as the canister counts time. A file may be older than 1970, or from the distant future. */
function timeOf(ms: number): bigint {
  return BigInt(Math.min(Math.max(Math.trunc(ms) || 0, 0), LATEST_MS)) * 1_000_000n;
}

function optional<T>(value: T | undefined): [] | [T] {
  return value === undefined ? [] : [value];
}

function ofKind(base: AssetMetadataBase): AssetMetadata {
  const [type] = base.mime_type.split('/');
  switch (type) {
    case 'image':
      return {
        Image: {
          base, color_space: [], exif_data: [], compression_ratio: [], dpi: [], orientation: [],
        },
      };
    case 'video':
      return {
        Video: { base, duration: [], codec: [], frame_rate: [], resolution: [], bitrate: [], aspect_ratio: [] },
      };
    case 'audio':
      return { Audio: { base, duration: [], codec: [], bitrate: [], sample_rate: [], channels: [], bit_depth: [] } };
    default:
      return { Document: { base, page_count: [], document_type: [], language: [], word_count: [] } };
  }
}
