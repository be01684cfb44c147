# Shared by findings about @junobuild/admin: the packages. Sourced after common.sh.

npm_packages @junobuild/admin@4.0.0 @junobuild/ic-client@7.1.1 @junobuild/config@3.0.1 @junobuild/schema@1.2.4 @icp-sdk/canisters@3.6.0 \
  @icp-sdk/core@5.4.0 @dfinity/utils@4.2.1 @dfinity/zod-schemas@3.2.0 zod@4.6.7 semver@7.8.6
