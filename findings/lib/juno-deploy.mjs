// `deploy` of @junobuild/cli-tools, whose progress is not shown: returns what it uploads.
import { mkdirSync, writeFileSync } from 'node:fs';
import { deploy } from '@junobuild/cli-tools';

mkdirSync('build');

/** Writes a file of the site. */
export const write = (name, content) => writeFileSync(`build/${name}`, content);

/** Deploys the site to a canister that has none of its files. */
export const deployed = async (hosting) => {
  const uploaded = [];
  const uploadFile = async ({ fullPath, encoding, headers, data }) => uploaded.push({
    path: fullPath, encoding: encoding ?? 'identity', type: headers.find(([name]) => name === 'Content-Type')?.[1],
    content: Buffer.from(await data.arrayBuffer()),
  });
  const log = console.log;
  console.log = () => {};
  try {
    await deploy({ params: { config: { source: 'build', ...hosting }, listAssets: async () => [] }, upload: { uploadFile } });
  } finally {
    console.log = log;
  }
  return uploaded.sort((a, b) => `${a.path} ${a.encoding}` < `${b.path} ${b.encoding}` ? -1 : 1);
};
