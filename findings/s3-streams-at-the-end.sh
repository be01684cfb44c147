#!/usr/bin/env bash
# s3-upload-stream 1.0.7 and s3-stream-upload 2.0.2 (npm), streams that are written to S3 in parts
#
# Expected: end(chunk) writes the chunk once, as the last one, and 'finish' and the callback of pipeline() come when
#   the stream has handed over everything (Node.js documentation, Stream); an empty stream is an empty object.
# Actual: s3-upload-stream writes the chunk that is given to end() twice. Its 'finish' comes before anything is
#   stored, and so does the callback of pipeline(), without an error even if S3 then refuses the file. An empty stream
#   is never stored, and 'uploaded' never comes. s3-stream-upload completes an upload only when a part arrives after
#   end(): if the last part was stored before (a slow source, a multiple of 5 MiB), or the stream is empty, the object
#   is never made.
# Affected: programs that append a footer or an index with end(), or exit when pipeline() is done: snapshots and
#   archives are too long, or are not there. Write the last chunk before end(), wait for 'uploaded', and compare the
#   sizes.
. "$(dirname "$0")/lib/common.sh"

npm_packages s3-upload-stream@1.0.7 s3-stream-upload@2.0.2
cat > probe.cjs <<'EOF'
const { Readable, pipeline } = require('node:stream');
const libraries = {
  's3-upload-stream': (s3) => require('s3-upload-stream')(s3).upload({ Bucket: 'bucket', Key: 'key' }),
  's3-stream-upload': (s3) => require('s3-stream-upload')(s3, { Bucket: 'bucket', Key: 'key' }),
};
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The four methods of the client of S3 that both use, with answers after 20 ms. */
const memory = (refuses) => {
  const parts = {}, s3 = { stored: undefined }, answer = (callback, ...results) => setTimeout(callback, 20, ...results);
  s3.createMultipartUpload = (_, callback) => answer(callback, null, { UploadId: '1' });
  s3.uploadPart = ({ PartNumber, Body }, callback) => { parts[PartNumber] = Buffer.from(Body); answer(callback, null, { ETag: `"${PartNumber}"` }); };
  s3.abortMultipartUpload = (_, callback) => answer(callback, null);
  s3.completeMultipartUpload = ({ MultipartUpload: { Parts } }, callback) => setTimeout(() => {
    if (refuses) return callback(new Error('AccessDenied'));
    s3.stored = Buffer.concat(Parts.map(({ PartNumber }) => parts[PartNumber]));
    callback(null, {});
  }, 20);
  return s3;
};

const show = ({ stored }) => stored === undefined ? 'nothing' : stored.length > 20 ? `${stored.length / 2 ** 20} MiB` : JSON.stringify(String(stored));
const run = async (title, name, write, refuses) => {
  const s3 = memory(refuses), stream = libraries[name](s3), events = [];
  for (const event of ['finish', 'uploaded', 'error']) stream.on(event, () => events.push(`${event} (stored: ${show(s3)})`));
  await write(stream, (error) => events.push(`pipeline ${error ? 'error' : 'done'} (stored: ${show(s3)})`));
  await pause(500);
  console.log(`${name}, ${title}: ${events.join(', ') || 'no event'}; in the end ${show(s3)}`);
};
(async () => {
  for (const name in libraries) {
    await run('write and end', name, (stream) => { stream.write(Buffer.from('data, ')); stream.write(Buffer.from('footer')); stream.end(); });
    await run('end with the footer', name, (stream) => { stream.write(Buffer.from('data, ')); stream.end(Buffer.from('footer')); });
    await run('pipeline', name, (stream, done) => { pipeline(Readable.from([Buffer.from('data')]), stream, done); });
    await run('pipeline, refused', name, (stream, done) => { pipeline(Readable.from([Buffer.from('data')]), stream, done); }, true);
    await run('empty', name, (stream) => { stream.end(); });
    await run('5 MiB at once', name, (stream) => { stream.write(Buffer.alloc(5 * 2 ** 20)); stream.end(); });
    await run('5 MiB, end later', name, async (stream) => { stream.write(Buffer.alloc(5 * 2 ** 20)); await pause(200); stream.end(); });
  }
})();
EOF
node --no-deprecation probe.cjs > seen
expect_seen <<'EOF'
s3-upload-stream, write and end: finish (stored: nothing), uploaded (stored: "data, footer"), finish (stored: "data, footer"); in the end "data, footer"
s3-upload-stream, end with the footer: finish (stored: nothing), uploaded (stored: "data, footerfooter"), finish (stored: "data, footerfooter"); in the end "data, footerfooter"
s3-upload-stream, pipeline: finish (stored: nothing), pipeline done (stored: nothing), uploaded (stored: "data"), finish (stored: "data"); in the end "data"
s3-upload-stream, pipeline, refused: finish (stored: nothing), pipeline done (stored: nothing), error (stored: nothing); in the end nothing
s3-upload-stream, empty: finish (stored: nothing); in the end nothing
s3-upload-stream, 5 MiB at once: finish (stored: nothing), uploaded (stored: 5 MiB), finish (stored: 5 MiB); in the end 5 MiB
s3-upload-stream, 5 MiB, end later: finish (stored: nothing), uploaded (stored: 5 MiB), finish (stored: 5 MiB); in the end 5 MiB
s3-stream-upload, write and end: finish (stored: "data, footer"); in the end "data, footer"
s3-stream-upload, end with the footer: finish (stored: "data, footer"); in the end "data, footer"
s3-stream-upload, pipeline: finish (stored: "data"), pipeline done (stored: "data"); in the end "data"
s3-stream-upload, pipeline, refused: error (stored: nothing), error (stored: nothing), pipeline error (stored: nothing); in the end nothing
s3-stream-upload, empty: no event; in the end nothing
s3-stream-upload, 5 MiB at once: finish (stored: 5 MiB); in the end 5 MiB
s3-stream-upload, 5 MiB, end later: no event; in the end nothing
EOF
