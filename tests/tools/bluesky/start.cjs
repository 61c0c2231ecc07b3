// A Bluesky PDS on loopback, with a directory of DIDs (PLC) that keeps what it is told in memory.
const http = require('node:http')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

const log = new Map()

function document(did, op) {
  const key = op.verificationMethods.atproto
  return {
    '@context': ['https://www.w3.org/ns/did/v1', 'https://w3id.org/security/multikey/v1'],
    id: did,
    alsoKnownAs: op.alsoKnownAs,
    verificationMethod: [{ id: `${did}#atproto`, type: 'Multikey', controller: did, publicKeyMultibase: key.slice('did:key:'.length) }],
    service: [{ id: '#atproto_pds', type: op.services.atproto_pds.type, serviceEndpoint: op.services.atproto_pds.endpoint }],
  }
}

const plc = http.createServer((request, response) => {
  const [did, what] = decodeURIComponent(request.url).slice(1).split('/')
  let body = ''
  request.on('data', (data) => (body += data))
  request.on('end', () => {
    const answer = (status, said) => {
      response.writeHead(status, { 'content-type': 'application/json' })
      response.end(JSON.stringify(said))
    }
    if (request.method === 'POST') {
      log.set(did, [...(log.get(did) ?? []), JSON.parse(body)])
      return answer(200, {})
    }
    const ops = log.get(did)
    if (!ops) return answer(404, { message: `DID not registered: ${did}` })
    const op = ops.at(-1)
    if (what === 'data') return answer(200, { did, rotationKeys: op.rotationKeys, verificationMethods: op.verificationMethods, alsoKnownAs: op.alsoKnownAs, services: op.services })
    if (what === 'log') return answer(200, ops)
    answer(200, document(did, op))
  })
})

async function main() {
  await new Promise((done) => plc.listen(0, '127.0.0.1', done))
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pds-'))
  const port = await new Promise((done) => { const probe = http.createServer().listen(0, '127.0.0.1', () => { const { port } = probe.address(); probe.close(() => done(port)) }) })
  Object.assign(process.env, {
    PDS_HOSTNAME: 'localhost', PDS_PORT: String(port), PDS_DATA_DIRECTORY: folder,
    PDS_BLOBSTORE_DISK_LOCATION: path.join(folder, 'blobs'), PDS_DID_PLC_URL: `http://127.0.0.1:${plc.address().port}`,
    PDS_JWT_SECRET: 'a'.repeat(32), PDS_ADMIN_PASSWORD: 'b'.repeat(32),
    PDS_PLC_ROTATION_KEY_K256_PRIVATE_KEY_HEX: '1'.repeat(64), PDS_DEV_MODE: 'true', PDS_INVITE_REQUIRED: 'false',
    PDS_SERVICE_HANDLE_DOMAINS: '.test', PDS_DISABLE_SSRF_PROTECTION: 'true', PDS_RATE_LIMITS_ENABLED: 'false',
    PDS_BSKY_APP_VIEW_URL: 'http://127.0.0.1:9', PDS_BSKY_APP_VIEW_DID: 'did:web:localhost',
    NODE_ENV: 'development',
  })
  const { PDS, envToCfg, envToSecrets, readEnv } = await import('@atproto/pds')
  const env = readEnv()
  const pds = await PDS.create(envToCfg(env), envToSecrets(env))
  await pds.start()
  console.log(JSON.stringify({ port, folder }))
}
main().catch((error) => { console.error(error); process.exit(1) })
