# What findings share that are about @ledgerhq/coin-internet_computer 1.29.4: the package, in the folder `ledger`. Sourced after
# common.sh.

# The registry lacks the version of one package that it asks for; 9.1.0 is the nearest that it has.
mkdir ledger
echo '{"private":true,"overrides":{"@ledgerhq/coin-module-framework":"9.1.0"}}' > ledger/package.json
npm install --prefix ledger --silent --no-audit --no-fund --no-save --ignore-scripts @ledgerhq/coin-internet_computer@1.29.4 "$@" \
  > npm.log 2>&1 || give_up npm.log
