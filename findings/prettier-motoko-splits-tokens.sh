#!/usr/bin/env bash
# prettier-plugin-motoko 0.13.0 with prettier 3.10.1 and motoko 4.10.0 (npm)
#
# Expected: a formatter changes only the spaces between tokens, and the formatted program means the same; a hexadecimal
#   float is one token, with its exponent, and so is `await?` (Motoko language manual: Lexical conventions, Await).
# Actual: it puts spaces into both: `0x1.8p-3` becomes `0x1.8 p - 3`, and `await? f()` becomes `await ?f()`, which is a
#   different expression: an await of an option. The second result can be parsed, so that only the type checker notices
#   it.
# Affected: format on save, and hooks that format before a commit, since they run no compiler. Write the float in
#   decimal, and put `// prettier-ignore` before an `await?`.
. "$(dirname "$0")/lib/common.sh"

npm_packages motoko@4.10.0 prettier@3.10.1 prettier-plugin-motoko@0.13.0
cat > probe.mjs <<'EOF'
import motoko from 'motoko';
import prettier from 'prettier';
import plugin from 'prettier-plugin-motoko';
const actor = (lines) => `persistent actor {\n  func f() : async Nat { 1 };\n  public func g() : async () {\n    ${lines}\n  };\n};\n`;
const check = (source) => {
  motoko.write('main.mo', source);
  const errors = motoko.check('main.mo').filter(({ severity }) => severity === 1);
  return errors.length ? `error ${errors[0].code}` : 'compiles';
};
for (const lines of ['ignore 1.5e-3;', 'ignore 0x1.8p-3;', 'ignore 0x1.8p3;', 'ignore await f();', 'ignore await? f();', '// prettier-ignore\n    ignore await? f();']) {
  const source = actor(lines), formatted = await prettier.format(source, { parser: 'motoko-tt-parse', plugins: [plugin], filepath: 'main.mo' });
  console.log(`${check(source)}: ${lines.replace(/\s+/g, ' ')}`);
  console.log(`  ${check(formatted)}: ${formatted.split('\n').slice(3, -3).map((line) => line.trim()).join(' ')}`);
}
EOF
node probe.mjs > seen
expect_seen <<'EOF'
compiles: ignore 1.5e-3;
  compiles: ignore 1.5e-3;
compiles: ignore 0x1.8p-3;
  error M0097: ignore 0x1.8 p - 3;
compiles: ignore 0x1.8p3;
  error M0097: ignore 0x1.8 p3;
compiles: ignore await f();
  compiles: ignore await f();
compiles: ignore await? f();
  error M0088: ignore await ?f();
compiles: // prettier-ignore ignore await? f();
  compiles: // prettier-ignore ignore await? f();
EOF
