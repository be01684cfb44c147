# Shared by findings that run AssetManager against the asset canister: both packages, and asset-canister.mjs and
# network.mjs in the scratch folder. Sourced after common.sh.

npm_packages @icp-sdk/canisters@3.6.0 @icp-sdk/core@5.4.0 @dfinity/utils@4.2.1
cp "$lib/asset-canister.mjs" "$lib/network.mjs" .
mkdir src
cp "$lib/asset-canister.rs" src/main.rs
rust_binary <<'EOF'
ic-certified-assets = "=0.3.0"
candid = "=0.10.39"
hex = "0.4"
EOF
