# What findings share that are about icpp-candid: a program of probe.cpp and the package's C++ files, in which a trap of the canister
# is an exception. Sourced after common.sh.

python_packages env icpp-candid==6.6.0
files=$(echo env/lib/python3*/site-packages/icpp_candid)
mkdir system
cat > system/ic0.h <<'EOF'
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>
inline void ic0_debug_print(uintptr_t, uint32_t) {}
[[noreturn]] inline void ic0_trap(uintptr_t text, uint32_t size) { throw std::runtime_error(std::string((const char *)text, size)); }
EOF
cat > probe.h <<'EOF'
#include <iostream>
#include "candid_deserialize.h"
#include "candid_serialize.h"
#include "candid_type.h"
#include "candid_type_all_includes.h"

// Prints a label and what `work` returns, or the first line of the text with which it traps.
template <typename Work> void show(const std::string &label, Work work) {
  std::string said;
  try {
    said = work();
  } catch (const std::exception &trap) {
    said = trap.what();
    said.erase(0, said.find_first_not_of('\n'));
    said = "trap, " + said.substr(0, said.find('\n'));
  }
  std::cout << label << ": " << said << std::endl;
}

template <typename T> std::string text(const std::optional<T> &value) { return value ? std::to_string(*value) : "null"; }
EOF

# Builds and runs probe.cpp.
cpp_program() {
  printf '#include "%s"\n' "$files"/candid/*.cpp "$files"/hooks/*.cpp > package.cpp
  nice -n 10 g++ -std=c++20 -w -Isystem -I"$files/candid" -I"$files/hooks" -I"$files/vendors" -I"$files/vendors/cppcodec" \
    -I"$files/vendors/hash-library" probe.cpp package.cpp "$files"/vendors/hash-library/*.cpp -o probe > cpp.log 2>&1 || give_up cpp.log
  ./probe
}
