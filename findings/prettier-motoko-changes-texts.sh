#!/usr/bin/env bash
# prettier-plugin-motoko 0.13.0 with prettier 3.10.1 and motoko 4.10.0 (npm), text literals of several lines
#
# Expected: a formatter changes only the spaces between tokens. A text literal is one token, also one of several lines
#   (Motoko language manual, Lexical conventions, Text literals), so its value stays.
# Actual: the spaces at the end of each line within a text are removed. The program still compiles, with another value
#   and another module hash, and nothing is printed.
# Affected: actors with templates in texts that are formatted on save: two spaces that are a line break in Markdown, or the
#   separator of a mail's signature, are gone, and a text that is hashed, compared with a stored one or used as a key is
#   another. Write `\u{20}` for the last space of a line.
. "$(dirname "$0")/lib/common.sh"

npm_packages motoko@4.10.0 prettier@3.10.1 prettier-plugin-motoko@0.13.0
cat > probe.mjs <<'EOD'
import motoko from 'motoko';
import prettier from 'prettier';
import plugin from 'prettier-plugin-motoko';
// The value of the text literal in a program, as the compiler reads it.
const textOf = (source) => {
  let text;
  JSON.stringify(motoko.parseMotoko(source), (key, value) => {
    if (Array.isArray(value) && value[1] === 'Text' && typeof value[0] === 'string') [text] = value;
    return value;
  });
  return text;
};
for (const literal of ['one line  of text  ', 'two lines\n  of text', 'a break  \nin Markdown', '-- \nThe team', 'a break \\u{20}\nin Markdown']) {
  const source = `module {\n  public let text = "${literal}";\n};\n`;
  const formatted = await prettier.format(source, { parser: 'motoko-tt-parse', plugins: [plugin], filepath: 'main.mo' });
  const [before, after] = [source, formatted].map(textOf);
  console.log(`${JSON.stringify(before)}: ${before === after ? 'stays' : `becomes ${JSON.stringify(after)}`}`);
}
EOD
node probe.mjs > seen
expect_seen <<'EOD'
"one line  of text  ": stays
"two lines\n  of text": stays
"a break  \nin Markdown": becomes "a break\nin Markdown"
"-- \nThe team": becomes "--\nThe team"
"a break  \nin Markdown": stays
EOD
