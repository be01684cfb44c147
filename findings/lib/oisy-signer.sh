# What findings share that are about @dfinity/oisy-wallet-signer: the packages, and oisy-signer.mjs and network.mjs in the scratch
# folder. Sourced after common.sh.

# The registry lacks the versions of some peers that the package asks for; these are the nearest that it has.
export npm_config_legacy_peer_deps=true
npm_packages @dfinity/oisy-wallet-signer@6.0.0 @dfinity/utils@4.1.0 @dfinity/zod-schemas@3.2.0 zod@4.6.7 @icp-sdk/canisters@3.2.0 \
  @icp-sdk/core@4.2.3 @dfinity/agent@3.4.3 @dfinity/candid@3.4.3 @dfinity/identity@3.4.3 @dfinity/identity-secp256k1@3.4.3 \
  @dfinity/principal@3.4.3 @noble/curves@1.9.7
cp "$lib/oisy-signer.mjs" "$lib/network.mjs" .
