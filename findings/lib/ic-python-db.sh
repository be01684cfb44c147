# Shared by findings that run the database of Python canisters: the packages, and how their program is run. Sourced
# after common.sh.

python_packages env ic-python-db==0.12.0 ic-python-logging==0.3.4

# Runs probe.py, and stores its output in the file `seen`, without the package's note that it is not in a canister.
python_db_probe() {
  env/bin/python probe.py | grep -v "^Note: IC CDK not available" > seen
}
