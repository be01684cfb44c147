# Shared by findings about icp: icp 1.5.0 with an identity, and a network for it on this machine. Sourced after common.sh.

# Installs icp, what the network needs, and more packages.
icp_packages() {
  npm_packages @icp-sdk/icp-cli-linux-x64@1.5.0 @icp-sdk/canisters@3.6.0 @icp-sdk/core@5.4.0 "$@"
  cp "$lib/network.mjs" "$lib/icp-network.mjs" .
  export HOME=$scratch/home ICP_HOME=$scratch/home/icp DO_NOT_TRACK=1
  mkdir -p "$ICP_HOME"
  icp identity new tester --storage plaintext > icp.log 2>&1
  icp identity default tester > icp.log 2>&1
}

icp() { node_modules/@icp-sdk/icp-cli-linux-x64/bin/icp "$@" < /dev/null; }

# Runs a module that calls `serve` until the finding ends.
start_network() {
  node "$1" > network.log 2>&1 &
  trap "kill $!; rm -rf '$scratch'" EXIT
  local tries=0
  until [ -e address ]; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || give_up network.log
    sleep 0.1
  done
}

# Writes a module with nothing but metadata: the file of the module, then the name and the file of each section.
module_of() {
  node --input-type=module -e '
    import fs from "node:fs";
    const [file, ...sections] = process.argv.slice(1);
    const sized = (bytes) => {
      const size = [];
      for (let rest = bytes.length; ; rest >>= 7) {
        if (rest < 128) { size.push(rest); break; }
        size.push((rest & 127) | 128);
      }
      return [...size, ...bytes];
    };
    const module = [0, 97, 115, 109, 1, 0, 0, 0];
    for (let i = 0; i < sections.length; i += 2) module.push(0, ...sized([...sized([...Buffer.from(sections[i])]), ...fs.readFileSync(sections[i + 1])]));
    fs.writeFileSync(file, Uint8Array.from(module));' "$@"
}
