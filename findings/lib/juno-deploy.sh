# Shared by findings that run the deployment of @junobuild/cli-tools: the packages, and juno-deploy.mjs in the scratch
# folder. Sourced after common.sh.

npm_packages @junobuild/cli-tools@0.10.0 @junobuild/storage@2.2.1 @junobuild/cdn@2.2.1 @junobuild/config@2.15.1 @junobuild/ic-client@7.1.1 \
  @junobuild/schema@1.2.4 @junobuild/utils@1.0.3 @dfinity/utils@4.2.1 @icp-sdk/core@5.4.0 ora@9.4.1 esbuild@0.27.7
cp "$lib/juno-deploy.mjs" .
