'use strict'

const { X509Certificate, sign } = require('node:crypto')
const fs = require('node:fs')
const net = require('node:net')
const path = require('node:path')
const tls = require('node:tls')
const { Certificates } = require('./support/certificates')
const { runNode } = require('./support/child')
const { redisScene } = require('./support/scene')

const certificates = new Certificates()
afterAll(() => certificates.remove())

const AUTHORITY = 'basicConstraints=critical,CA:TRUE'
const NO_AUTHORITY = 'basicConstraints=CA:FALSE'
const LOCALHOST = 'subjectAltName=DNS:localhost'

const issue = (wish) => certificates.issue(wish)
const authority = (name, wish) => issue({ subject: `/CN=${name}`, extensions: [AUTHORITY], ...wish })
const under = (issuer, ...extensions) => issue({ issuer, extensions: [LOCALHOST, ...extensions] })
const sentWith = (leaf, ...above) => ({ ...leaf, cert: [leaf, ...above].map(({ cert }) => cert).join('') })

const root = authority('root')
const other = authority('other')
const leaf = under(root)

// What comes of it, what the server shows, what the client asks for, and what comes of it with node:tls, if it is something else.

const selfSigned = () => {
  const ofVersion1 = issue()
  const ofServer = issue({ extensions: [NO_AUTHORITY, LOCALHOST] })
  const ofAuthority = issue({ extensions: [AUTHORITY, LOCALHOST] })
  const mimic = issue({ extensions: [AUTHORITY, LOCALHOST] })
  const forSigning = issue({ extensions: [AUTHORITY, LOCALHOST, 'keyUsage=keyCertSign'] })
  const unknown = 'DEPTH_ZERO_SELF_SIGNED_CERT'
  return {
    'self-signed, in ca': ['accepted', ofServer, { ca: ofServer.cert }],
    'self-signed, an authority, in ca': ['accepted', ofAuthority, { ca: ofAuthority.cert }],
    'self-signed, of version 1, in ca': ['accepted', ofVersion1, { ca: ofVersion1.cert }],
    'self-signed, only for signing others, in ca': ['INVALID_PURPOSE', forSigning, { ca: forSigning.cert }],
    'self-signed, not in ca': [unknown, ofServer, { ca: root.cert }],
    'self-signed, of version 1, not in ca': [unknown, ofVersion1, { ca: root.cert }],
    'self-signed, with the name of one in ca': [unknown, mimic, { ca: ofAuthority.cert }],
  }
}

const chains = () => {
  const middle = authority('middle', { issuer: root })
  const below = under(middle)
  const noAuthority = authority('middle', { issuer: root, extensions: [NO_AUTHORITY] })
  const middleOfVersion1 = authority('middle', { issuer: root, extensions: [] })
  const signing = { extensions: ['keyUsage=keyCertSign'] }
  const signingMiddle = authority('middle', { issuer: root, ...signing })
  const signingRoot = authority('root', signing)
  const rootOfVersion1 = authority('root', { extensions: [] })
  const notForSigning = authority('root', { extensions: [AUTHORITY, 'keyUsage=digitalSignature'] })
  const forClients = authority('root', { extensions: [AUTHORITY, 'extendedKeyUsage=clientAuth'] })
  const narrow = authority('narrow', { extensions: [`${AUTHORITY},pathlen:0`] })
  const inNarrow = authority('middle', { issuer: narrow })
  const shouting = authority('ROOT', { key: root })
  const noKeyIdentifier = 'authorityKeyIdentifier=none'
  const impostor = authority('root')
  const expiredRoot = authority('root', { key: root, until: '20210101000000Z' })
  const alone = 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'
  return {
    'of an authority in ca': ['accepted', leaf, { ca: root.cert }],
    'of one of several authorities': ['accepted', leaf, { ca: [other.cert, Buffer.from(root.cert)] }],
    'of one of several authorities in one text': [
      'accepted',
      leaf,
      { ca: `${other.cert}\n# root:\n${root.cert}` },
    ],
    'of an authority in ca that writes its name otherwise': ['accepted', leaf, { ca: shouting.cert }],
    'of an authority of which ca has an expired certificate, too': [
      'accepted',
      leaf,
      { ca: [expiredRoot.cert, root.cert] },
    ],
    'of an authority in ca, by its serial number': [
      'accepted',
      under(root, 'authorityKeyIdentifier=issuer:always'),
      { ca: root.cert },
    ],
    'of an authority in ca, by another serial number': [
      alone,
      under(root, 'authorityKeyIdentifier=issuer:always'),
      { ca: shouting.cert },
    ],
    'of an authority that is not in ca': [alone, leaf, { ca: other.cert }],
    'of an authority that is sent, and not in ca': [
      'SELF_SIGNED_CERT_IN_CHAIN',
      sentWith(leaf, root),
      { ca: other.cert },
    ],
    'of an authority that nobody knows, without ca': [alone, leaf, {}],
    'in ca itself, without its authority': [alone, leaf, { ca: leaf.cert }],
    'with the name of an authority in ca, which has not signed it': [
      'CERT_SIGNATURE_FAILURE',
      under(impostor, noKeyIdentifier),
      { ca: root.cert },
    ],
    'with the name of an authority in ca, of another key': [
      alone,
      under(impostor, 'authorityKeyIdentifier=keyid'),
      { ca: root.cert },
    ],
    'below an intermediate that is sent': ['accepted', sentWith(below, middle), { ca: root.cert }],
    'below an intermediate that is not sent': [alone, below, { ca: root.cert }],
    'below an intermediate in ca, beside its root': ['accepted', below, { ca: [root.cert, middle.cert] }],
    'below an intermediate that is alone in ca': ['UNABLE_TO_GET_ISSUER_CERT', below, { ca: middle.cert }],
    'below an intermediate of an unknown root': [
      'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
      sentWith(below, middle),
      { ca: other.cert },
    ],
    'below an intermediate of an unknown root, which has not signed it': [
      'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
      sentWith(under(authority('middle'), noKeyIdentifier), middle),
      { ca: other.cert },
      'CERT_SIGNATURE_FAILURE',
    ],
    'below an intermediate that is no authority': [
      'INVALID_PURPOSE',
      sentWith(under(noAuthority), noAuthority),
      { ca: root.cert },
    ],
    'below an intermediate of version 1': [
      'INVALID_PURPOSE',
      sentWith(under(middleOfVersion1), middleOfVersion1),
      { ca: root.cert },
    ],
    'below an intermediate that may sign, but is not said to be an authority': [
      'INVALID_CA',
      sentWith(under(signingMiddle), signingMiddle),
      { ca: root.cert },
    ],
    'below a root that may sign, but is not said to be an authority': [
      'accepted',
      under(signingRoot),
      { ca: signingRoot.cert },
    ],
    'below a root of version 1': ['accepted', under(rootOfVersion1), { ca: rootOfVersion1.cert }],
    'below a root that must not sign': ['UNSPECIFIED', under(notForSigning), { ca: notForSigning.cert }],
    'below a root for clients': ['INVALID_PURPOSE', under(forClients), { ca: forClients.cert }],
    'below a root that allows no intermediate': ['accepted', under(narrow), { ca: narrow.cert }],
    'below an intermediate that the root does not allow': [
      'PATH_LENGTH_EXCEEDED',
      sentWith(under(inNarrow), inNarrow),
      { ca: narrow.cert },
    ],
  }
}

const names = () => {
  const WRONG = 'ERR_TLS_CERT_ALTNAME_INVALID'
  const named = (subject, ...alternative) =>
    issue({
      subject,
      issuer: root,
      extensions: [NO_AUTHORITY, ...alternative.map((names) => `subjectAltName=${names}`)],
    })
  const common = (name) => named(`/CN=${name}`)
  const has = (alternative) => named('/O=none', alternative)
  const at = (servername) => ({ ca: root.cert, servername })
  const here = { ca: root.cert }
  const byAddress = { ca: root.cert, host: '127.0.0.1' }
  const wild = has('DNS:*.example.com')
  return {
    'with a common name': ['accepted', common('localhost'), here],
    'with a common name, of version 1': ['accepted', issue({ issuer: root }), here],
    'with two common names': ['accepted', common('other/CN=localhost'), here],
    'with a wildcard in the common name': ['accepted', common('*.example.com'), at('a.example.com')],
    'with another common name': [WRONG, common('other'), here],
    'with the common name beside another DNS name': [WRONG, named('/CN=localhost', 'DNS:other'), here],
    'with the common name beside an address': ['accepted', named('/CN=localhost', 'IP:10.0.0.1'), here],
    'with the common name beside a URI': ['accepted', named('/CN=localhost', 'URI:https://other/'), here],
    'with no name': [WRONG, named('/O=none'), here],
    'with several DNS names': ['accepted', has('DNS:other,DNS:LOCALHOST'), here],
    'with another DNS name': [WRONG, has('DNS:localhost.other'), here],
    'with a wildcard': ['accepted', wild, at('A.example.com')],
    'with a wildcard, which is not for nothing': [WRONG, wild, at('example.com')],
    'with a wildcard, which is not for two labels': [WRONG, wild, at('a.b.example.com')],
    'with a wildcard for a part of a label': ['accepted', has('DNS:a*.example.com'), at('abc.example.com')],
    'with a wildcard for the second label': [WRONG, has('DNS:a.*.com'), at('a.example.com')],
    'with a wildcard below the top': [WRONG, has('DNS:*.com'), at('example.com')],
    'with two wildcards': [WRONG, has('DNS:*a*.example.com'), at('bab.example.com')],
    'with an address': ['accepted', has('IP:127.0.0.1,IP:::1'), byAddress],
    'with another address': [WRONG, has('IP:10.0.0.1'), byAddress],
    'with an address as a DNS name': [WRONG, has('DNS:127.0.0.1'), byAddress],
    'with an address as the common name': [WRONG, common('127.0.0.1'), byAddress],
    'with the servername': ['accepted', has('DNS:own.example'), at('own.example')],
    'with the host, and not the servername': [WRONG, leaf, at('own.example')],
  }
}

const constraints = () => {
  const subject = (name) => `permitted;dirName:subject\n[subject]\n${name}`
  const confinedTo = (constraint, wish) =>
    authority('confined', { extensions: [AUTHORITY, `nameConstraints=critical,${constraint}`], ...wish })
  const row = (outcome, constraint, name, { subject = '/O=none', host = 'localhost' } = {}) => {
    const confined = confinedTo(constraint)
    const shown = issue({ subject, issuer: confined, extensions: [name] })
    return [outcome, shown, { ca: confined.cert, servername: host }]
  }
  const addressed = (outcome, constraint) => {
    const [, shown, { ca }] = row(outcome, constraint, 'subjectAltName=IP:127.0.0.1')
    return [outcome, shown, { ca, host: '127.0.0.1' }]
  }
  const www = { subject: '/CN=www.example.com', host: 'www.example.com' }
  const secret = { host: 'secret.example.com' }
  const confinedRoot = confinedTo('permitted;DNS:localhost')
  const middle = authority('sub.ca', { issuer: confinedRoot })
  const ofUnknown = confinedTo('excluded;DNS:localhost', { issuer: other })
  return {
    'with a name that the root permits': row('accepted', 'permitted;DNS:localhost', LOCALHOST),
    'with a name that the root does not permit': row('UNSPECIFIED', 'permitted;DNS:example.com', LOCALHOST),
    'with a name that the root excludes': row('UNSPECIFIED', 'excluded;DNS:localhost', LOCALHOST),
    'with an address that the root permits': addressed('accepted', 'permitted;IP:127.0.0.0/255.0.0.0'),
    'with an address that the root does not permit': addressed(
      'UNSPECIFIED',
      'permitted;IP:10.0.0.0/255.0.0.0',
    ),
    'with an address where the root permits a name': addressed('accepted', 'permitted;DNS:example.com'),
    'with a common name that the root permits': row(
      'accepted',
      'permitted;DNS:example.com',
      NO_AUTHORITY,
      www,
    ),
    'with a common name that the root does not permit': row(
      'UNSPECIFIED',
      'permitted;DNS:other.com',
      NO_AUTHORITY,
      www,
    ),
    'with a common name that does not count, beside one that the root permits': row(
      'accepted',
      'permitted;DNS:localhost',
      LOCALHOST,
      { subject: '/CN=www.example.com' },
    ),
    'with a subject that the root permits': row('accepted', subject('O=NONE'), LOCALHOST),
    'with a subject that the root does not permit': row('UNSPECIFIED', subject('O=other'), LOCALHOST),
    'with an email address in the subject that the root does not permit': row(
      'UNSPECIFIED',
      'permitted;email:example.com',
      LOCALHOST,
      { subject: '/emailAddress=a@other.com' },
    ),
    'below an intermediate whose common name looks like a host that the root does not permit': [
      'accepted',
      sentWith(under(middle), middle),
      { ca: confinedRoot.cert },
    ],
    'with a pattern for a name that the root excludes': [
      ...row('UNSPECIFIED', 'excluded;DNS:secret.example.com', 'subjectAltName=DNS:*.example.com', secret),
      'accepted',
    ],
    'with a pattern for no name that the root excludes': row(
      'accepted',
      'excluded;DNS:secret.example.org',
      'subjectAltName=DNS:*.example.com',
      secret,
    ),
    'with a final dot after a name that the root excludes': [
      ...row(
        'UNSPECIFIED',
        'excluded;DNS:secret.example.com',
        'subjectAltName=DNS:secret.example.com.',
        secret,
      ),
      'accepted',
    ],
    'below an intermediate of an unknown root, with a name that it excludes': [
      'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
      sentWith(under(ofUnknown), ofUnknown),
      { ca: root.cert },
      'UNSPECIFIED',
    ],
    'with an email address that the root does not permit': row(
      'UNSPECIFIED',
      'permitted;email:example.com',
      `${LOCALHOST},email:a@other.com`,
    ),
  }
}

const dates = () => {
  const past = { until: '20210101000000Z' }
  const expired = issue({ issuer: root, extensions: [LOCALHOST], ...past })
  const early = issue({ issuer: root, extensions: [LOCALHOST], from: '21000101000000Z' })
  const expiredRoot = authority('root', past)
  const own = issue({ extensions: [LOCALHOST], ...past })
  return {
    'that has expired': ['CERT_HAS_EXPIRED', expired, { ca: root.cert }],
    'that has expired, of an unknown authority': ['CERT_HAS_EXPIRED', expired, { ca: other.cert }],
    'that is not valid yet': ['CERT_NOT_YET_VALID', early, { ca: root.cert }],
    'whose root has expired': ['CERT_HAS_EXPIRED', under(expiredRoot), { ca: expiredRoot.cert }],
    'that has expired, self-signed, in ca': ['CERT_HAS_EXPIRED', own, { ca: own.cert }],
  }
}

const purposes = () => {
  const row = (outcome, extension) => [outcome, under(root, extension), { ca: root.cert }]
  return {
    'for servers and clients': row('accepted', 'extendedKeyUsage=serverAuth,clientAuth'),
    'for clients': row('INVALID_PURPOSE', 'extendedKeyUsage=clientAuth'),
    'for anything': row('INVALID_PURPOSE', 'extendedKeyUsage=anyExtendedKeyUsage'),
    'for signatures': row('accepted', 'keyUsage=digitalSignature'),
    'for certificates only': row('INVALID_PURPOSE', 'keyUsage=keyCertSign'),
    'for servers, by the extension of Netscape': row('accepted', 'nsCertType=critical,server'),
    'for clients, by the extension of Netscape': row('INVALID_PURPOSE', 'nsCertType=client'),
    'with critical constraints of policies': row(
      'accepted',
      'policyConstraints=critical,requireExplicitPolicy:1',
    ),
    'with a critical mapping of policies': row('accepted', 'policyMappings=critical,1.2.3.4:1.2.3.5'),
    'with a critical limit to any policy': row('accepted', 'inhibitAnyPolicy=critical,1'),
    'with a critical noCheck': row('accepted', 'noCheck=critical,ignored'),
    'with a critical extension that is unknown': row('UNSPECIFIED', '1.2.3.4=critical,ASN1:NULL'),
    'with an extension that is unknown': row('accepted', '1.2.3.4=ASN1:NULL'),
  }
}

const keys = () => {
  const row = (outcome, key, digest) => {
    const signer = authority('root', { key })
    return [outcome, issue({ issuer: signer, extensions: [LOCALHOST], key, digest }), { ca: signer.cert }]
  }
  const sha1 = issue({ extensions: [LOCALHOST], digest: 'sha1' })
  const rsa = authority('root', { key: 'RSA' })
  return {
    'with RSA': row('accepted', 'RSA'),
    'with RSA and SHA-512': row('accepted', 'RSA', 'sha512'),
    'with RSA and SHA-1': row('UNSPECIFIED', 'RSA', 'sha1'),
    'with two algorithms': ['CERT_SIGNATURE_FAILURE', withTwoAlgorithms(rsa), { ca: rsa.cert }],
    'with SHA-1, self-signed, in ca': ['accepted', sha1, { ca: sha1.cert }],
    'with P-384': row('accepted', 'P384'),
    'with Ed25519': row('accepted', 'Ed25519'),
  }
}

/** Signed anew by `issuer`, after what is signed has got another algorithm than what stands beside the signature. */
const withTwoAlgorithms = (issuer) => {
  const shown = issue({ issuer, extensions: [LOCALHOST], key: issuer, digest: 'sha256' })
  const der = new X509Certificate(shown.cert).raw
  const SHA256_WITH_RSA = Buffer.from('2a864886f70d01010b', 'hex')
  der[der.indexOf(SHA256_WITH_RSA) + SHA256_WITH_RSA.length - 1]++
  const signed = der.subarray(4, 8 + der.readUInt16BE(6))
  sign('sha256', signed, issuer.key).copy(der, der.length - 256)
  return {
    ...shown,
    cert: `-----BEGIN CERTIFICATE-----\n${der.toString('base64')}\n-----END CERTIFICATE-----\n`,
  }
}

const unverified = () => {
  const trusting = { rejectUnauthorized: false }
  const expired = issue({ extensions: [NO_AUTHORITY], until: '20210101000000Z' })
  return {
    'of an unknown authority, unverified': ['accepted', leaf, trusting],
    'of an unknown authority, unverified, with a ca that is none': [
      'accepted',
      leaf,
      { ...trusting, ca: 'x' },
    ],
    'that has expired, for another host, unverified': [
      'accepted',
      expired,
      { ...trusting, servername: 'other' },
    ],
    'of version 1, unverified': ['accepted', issue(), trusting],
    'of version 1 with RSA, unverified': ['accepted', issue({ key: 'RSA' }), trusting],
    'with SHA-1, unverified': ['accepted', issue({ digest: 'sha1' }), trusting],
  }
}

/** What the server does otherwise where TLS 1.2 is spoken is how it signs: for that, keys are what counts. */
const tables = {
  'TLSv1.2': { ...keys(), ...unverified() },
  'TLSv1.3': Object.assign(
    {},
    ...[selfSigned, chains, names, constraints, dates, purposes, keys, unverified].map((rows) => rows()),
  ),
}

describe('tls', () => {
  const redis = redisScene()
  const servers = []

  afterEach(async () => {
    for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve))
  })

  /** A server is content with whichever certificate it has. Bun's is so by itself. */
  const undemanding = process.versions.bun ? {} : { ciphers: 'DEFAULT@SECLEVEL=0' }

  /** A server that speaks TLS in front of Redis. */
  async function serve(options) {
    const server = tls.createServer({ ...undemanding, ...options }, (socket) => {
      const inner = net.connect(redis.server.port, '127.0.0.1')
      socket.on('error', () => inner.destroy()).pipe(inner)
      inner.on('error', () => socket.destroy()).pipe(socket)
    })
    server.on('tlsClientError', () => {})
    servers.push(server.listen(0, '127.0.0.1'))
    await new Promise((resolve) => server.once('listening', resolve))
    return server.address().port
  }

  const showing = ({ cert, key }, version) => serve({ cert, key, minVersion: version, maxVersion: version })

  const opinionOfNode = async (port, options) => {
    const socket = tls.connect({ port, host: 'localhost', ...options })
    const outcome = await new Promise((resolve) => {
      socket.once('secureConnect', () => resolve('accepted')).once('error', (error) => resolve(error.code))
    })
    socket.destroy()
    return outcome
  }

  const ourOpinion = (port, options) => {
    const locker = redis.newLocker({ port, host: 'localhost', tls: options })
    return locker.lock('a').then(
      () => 'accepted',
      (error) => (error.code === 'ERR_CONNECTION' ? error.cause.code : error.code),
    )
  }

  describe.each(Object.entries(tables))('over %s, a certificate', (version, rows) => {
    it.each(Object.entries(rows))('%s', async (_, [outcome, shown, options]) => {
      expect(await ourOpinion(await showing(shown, version), options)).toBe(outcome)
    })

    it('is for node:tls what the table says', async () => {
      const outcomes = {}
      const expected = {}
      for (const [name, [outcome, shown, options, ofNode = outcome]] of Object.entries(rows)) {
        outcomes[name] = await opinionOfNode(await showing(shown, version), options)
        expected[name] = ofNode
      }
      expect(outcomes).toEqual(expected)
    })
  })

  it('says what is wrong, and with which server', async () => {
    const port = await showing(leaf)
    const locker = redis.newLocker({
      port,
      host: 'localhost',
      tls: { ca: root.cert, servername: 'own.example' },
    })
    await expect(locker.lock('a')).rejects.toMatchObject({
      name: 'ConnectionError',
      code: 'ERR_CONNECTION',
      message: expect.stringMatching(`localhost:${port}.*config.tls`),
      cause: {
        code: 'ERR_TLS_CERT_ALTNAME_INVALID',
        message: 'the certificate is not for own.example: it has the DNS names localhost',
      },
    })
  })

  it('shows a client certificate of version 1', async () => {
    const client = issue({ subject: '/CN=client', issuer: root })
    const port = await serve({ cert: leaf.cert, key: leaf.key, ca: root.cert, requestCert: true })
    const options = { ca: root.cert, cert: client.cert, key: client.key }
    expect([await opinionOfNode(port, options), await ourOpinion(port, options)]).toEqual([
      'accepted',
      'accepted',
    ])
  })

  it('refuses a key that is not that of the client certificate', () => {
    expect(() => redis.newLocker({ tls: { cert: leaf.cert, key: root.key } })).toThrow(
      'config.tls.key does not fit the certificate',
    )
  })

  describe('by what Node.js is told', () => {
    /** What becomes of a lock in a process of its own, whose `config.tls` is `true`. */
    const lockIn = async (port, env) => {
      const spec = { driver: 'redis', config: { port, host: 'localhost', tls: true } }
      const child = runNode(
        `
        const locker = lockFactory(args)
        const report = (lock) => { tell(lock.held); return lock.unlock() }
        locker.lock('a').then(report, (error) => tell(error.cause.code)).then(() => locker.close())
        `,
        { ...spec, settings: { prefix: redis.prefix } },
        { env: { ...process.env, ...env } },
      )
      const { messages, stderr } = await child.ended
      return { outcome: messages[0], stderr }
    }

    it('trusts NODE_EXTRA_CA_CERTS, if there is no ca', async () => {
      const file = path.join(redis.server.directory, 'extra.pem')
      fs.writeFileSync(file, root.cert)
      const port = await showing(leaf)
      expect(await lockIn(port, { NODE_EXTRA_CA_CERTS: file })).toMatchObject({ outcome: true })
      expect(await lockIn(port, {})).toMatchObject({ outcome: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' })
    })

    it('passes over what cannot be read in NODE_EXTRA_CA_CERTS', async () => {
      const file = path.join(redis.server.directory, 'partly.pem')
      const bad = ['AAAA', '*'].map(
        (text) => `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`,
      )
      fs.writeFileSync(file, [root.cert, ...bad].join(''))
      const port = await showing(leaf)
      expect(await lockIn(port, { NODE_EXTRA_CA_CERTS: file })).toMatchObject({ outcome: true })
    })

    it('trusts the store of OpenSSL with --use-openssl-ca, and no others but NODE_EXTRA_CA_CERTS', async () => {
      const [file, others] = [root, other].map(({ cert, name }) => {
        const file = path.join(redis.server.directory, `store-${name}.pem`)
        fs.writeFileSync(file, cert)
        return file
      })
      const env = { NODE_OPTIONS: '--use-openssl-ca', SSL_CERT_DIR: undefined, NODE_EXTRA_CA_CERTS: '' }
      const unknown = { outcome: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' }
      const port = await showing(leaf)
      const store = (file, more) => lockIn(port, { ...env, SSL_CERT_FILE: file, ...more })
      expect(await store(file)).toMatchObject({ outcome: true })
      expect(await store(others)).toMatchObject(unknown)
      expect(await store(others, { NODE_EXTRA_CA_CERTS: file })).toMatchObject({ outcome: true })
      expect(await store(file, { NODE_OPTIONS: '--use-bundled-ca' })).toMatchObject(unknown)
    })

    it('trusts whom tls.setDefaultCACertificates has named last', async () => {
      const port = await showing(leaf)
      const child = runNode(
        `
        const tls = require('node:tls')
        // Where Node.js has no such function yet, this is one.
        tls.setDefaultCACertificates ??= (list) => { tls.getCACertificates = () => list }
        const outcomeWith = async (list) => {
          tls.setDefaultCACertificates(list)
          const locker = lockFactory(args.spec)
          tell(await locker.lock('a').then((lock) => lock.held, (error) => error.cause.code))
          await locker.close()
        }
        outcomeWith([args.other]).then(() => outcomeWith([args.root])).then(() => outcomeWith([]))
        `,
        {
          spec: {
            driver: 'redis',
            config: { port, host: 'localhost', tls: true },
            settings: { prefix: redis.prefix },
          },
          other: other.cert,
          root: root.cert,
        },
      )
      const unknown = 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'
      expect((await child.ended).messages).toEqual([unknown, true, unknown])
    })

    it('verifies nothing with NODE_TLS_REJECT_UNAUTHORIZED=0, and warns of it', async () => {
      const port = await showing(leaf)
      const { outcome, stderr } = await lockIn(port, { NODE_TLS_REJECT_UNAUTHORIZED: '0' })
      expect(outcome).toBe(true)
      expect(stderr).toMatch(/LOCK_INC_TLS_UNVERIFIED.*NODE_TLS_REJECT_UNAUTHORIZED/)
    })
  })
})
