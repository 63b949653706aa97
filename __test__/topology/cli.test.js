'use strict'

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const lockFactory = require('../..')
const { Certificates } = require('../support/certificates')
const { Cluster } = require('../support/cluster')
const { inShell, lockInc } = require('../support/command-line')
const { GROUP, SentinelGroup } = require('../support/sentinel')
const { until } = require('../support/until')

const list = (nodes) => nodes.map(({ port }) => `127.0.0.1:${port}`).join()

/** Runs `echo` under a lock, and has `show` say, from another process, that it was held meanwhile. */
async function usesALock(connection, env) {
  const inner = `${inShell} show job ${connection.join(' ')}`
  return lockInc(['run', 'job', ...connection, '--', 'sh', '-c', inner], { env }).ended
}

const asHeld = { code: 0, stderr: '', stdout: expect.stringMatching(/^job: 1 holder, 0 waiting, /) }

describe('lock-inc on a cluster', () => {
  let cluster

  beforeAll(async () => {
    cluster = await Cluster.start({ replicas: 0 })
  })

  afterAll(() => cluster.stop())

  it('finds it by some of its nodes, or by one and --cluster', async () => {
    expect(await usesALock(['--nodes', list(cluster.nodes.slice(0, 2))])).toMatchObject(asHeld)
    const env = { REDIS_URL: `redis://127.0.0.1:${cluster.nodes[2].port}` }
    expect(await usesALock(['--cluster'], env)).toMatchObject(asHeld)
  })

  it('lists the locks of all nodes, in one order', async () => {
    const locker = lockFactory({
      driver: 'redis',
      config: { nodes: cluster.addresses() },
      settings: { prefix: 'lock:' },
    })
    const names = Array.from({ length: 20 }, (_, index) => `name ${index + 10}`)
    await Promise.all(names.map((name) => locker.lock(name, { renew: true })))
    const rows = await until(async () => {
      const { stdout } = await lockInc(['ls', 'name *', '--nodes', list(cluster.nodes)]).ended
      const rows = stdout.trim().split('\n').slice(1)
      return rows.length === names.length && rows
    }, 'all are listed')
    expect(rows.map((row) => row.slice(0, 7))).toEqual(names)
    await locker.purge()
    await locker.close()
  })
})

describe('lock-inc with sentinels', () => {
  it('finds the primary, with passwords from the environment', async () => {
    const group = await SentinelGroup.start({
      password: 'of-the-servers',
      sentinelPassword: 'of-the-sentinels',
    })
    try {
      const connection = ['--sentinels', list(group.sentinels), '--name', GROUP]
      const env = { LOCK_INC_PASSWORD: 'of-the-servers' }
      const all = { ...env, LOCK_INC_SENTINEL_PASSWORD: 'of-the-sentinels' }
      expect(await usesALock(connection, all)).toMatchObject(asHeld)
      const { code, stderr } = await usesALock(connection, env)
      expect(code).toBe(69)
      expect(stderr).toContain('wants a password: set LOCK_INC_SENTINEL_PASSWORD (ERR_REDIS_NOAUTH)')
    } finally {
      await group.stop()
    }
  })

  it('speaks TLS with the servers by --ca, and with the sentinels by a file with config', async () => {
    const certificates = new Certificates()
    const root = certificates.issue({
      subject: '/CN=root',
      extensions: ['basicConstraints=critical,CA:TRUE'],
    })
    const leaf = certificates.issue({ issuer: root, extensions: ['subjectAltName=IP:127.0.0.1'] })
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'lock-inc-cli-tls-'))
    const write = (name, text) => {
      const file = path.join(folder, name)
      fs.writeFileSync(file, text)
      return file
    }
    const ca = write('ca.pem', root.cert)
    const files = { cert: write('cert.pem', leaf.cert), key: write('key.pem', leaf.key), ca }
    const config = write('config.json', JSON.stringify({ sentinelTls: { ca: root.cert } }))
    const group = await SentinelGroup.start({ tls: files })
    try {
      const connection = ['--sentinels', list(group.sentinels), '--name', GROUP, '--config', config]
      expect(await usesALock([...connection, '--ca', ca])).toMatchObject(asHeld)
      const { code, stderr } = await usesALock([...connection, '--tls'])
      expect(code).toBe(69)
      expect(stderr).toMatch(/certificate/)
    } finally {
      await group.stop()
      certificates.remove()
      fs.rmSync(folder, { recursive: true })
    }
  })
})
