'use strict'

const { checks } = require('./checks')

/**
 * Every option there is. The readers beside this file go by this table, the error messages are made of it, and
 * `__test__/options-described.test.js` compares it with `index.d.ts` and the docs.
 *
 * @typedef {object} Option
 * @property {string} name
 * @property {keyof typeof import('./checks').checks} type What it takes: see `checks.js`.
 * @property {'s' | 'ms'} [unit] Of a number. What is read is in milliseconds.
 * @property {number} [min] The least number.
 * @property {number} [max] The greatest number.
 * @property {boolean} [whole] Only whole numbers; of a time, whole numbers of its unit.
 * @property {boolean} [digits] A number may also be given as its digits in a string.
 * @property {string} [noun] What messages call the number.
 * @property {string} [must] What messages say it must be, where that is not to be made of the other fields.
 * @property {readonly unknown[]} [values] All that is accepted.
 * @property {unknown} [default] In the option's own unit.
 * @property {boolean} [falsy] Falsy values but `NaN` mean the default.
 * @property {{ code: string, message: string }} [required] The error where it is missing.
 * @property {string} [aliasOf] The option that it is another name of.
 * @property {'none' | 'refused'} [effect] Absent: it does something.
 * @property {string} [why] Why it has no effect, or is refused.
 * @property {boolean} [secret] Its value is never shown.
 * @property {{ above: number, code: string }} [warn] A plain number above this one emits a process warning.
 * @property {string} [path] What messages call it. Made from the group's.
 * @property {(option: Option, value: any) => unknown} [check] The function for its type.
 *
 * @typedef {object} Group
 * @property {string} path What messages call the object.
 * @property {readonly Option[]} options
 * @property {Map<string, Option>} known The options by each spelling of their names.
 */

/**
 * All options are objects of one shape, with their fields in one order: they are read twice as fast as if they were not.
 *
 * @type {Option}
 */
const SHAPE = {
  name: '',
  type: 'unread',
  path: undefined,
  check: undefined,
  unit: undefined,
  min: undefined,
  max: undefined,
  whole: undefined,
  falsy: undefined,
  warn: undefined,
  default: undefined,
  digits: undefined,
  noun: undefined,
  must: undefined,
  values: undefined,
  required: undefined,
  aliasOf: undefined,
  effect: undefined,
  why: undefined,
  secret: undefined,
}

/** The longest delay of a JavaScript timer, and the greatest 32-bit integer. */
const MAX_INT = 2_147_483_647

/** 30 years and more: longer leases are a mistake in the unit. */
const MAX_SECONDS = 1e9

/** @type {Pick<Option, 'type' | 'unit' | 'min' | 'max'>} */
const SECONDS = { type: 'time', unit: 's', min: 0.01, max: MAX_SECONDS }

/** @type {Pick<Option, 'type' | 'unit' | 'whole' | 'min' | 'max'>} */
const WHOLE_MS = { type: 'time', unit: 'ms', whole: true, min: 1, max: MAX_INT }

/** @type {Pick<Option, 'type' | 'min' | 'max' | 'digits' | 'noun'>} */
const PORT = { type: 'integer', min: 1, max: 65535, digits: true, noun: 'a port' }

/** @type {Pick<Option, 'type' | 'min' | 'max' | 'digits' | 'must'>} */
const DATABASE = { type: 'integer', min: 0, max: MAX_INT, digits: true, must: 'a database number from 0 on' }

/** @type {Option[]} */
const ADDRESS = [
  { name: 'host', type: 'host', default: '127.0.0.1' },
  { name: 'port', ...PORT, default: 6379 },
]

/** Somebody who gives a lease of more than a day as a plain number may have meant milliseconds, as other libraries do. */
const A_DAY = { above: 86_400, code: 'LOCK_INC_EXPIRE' }

/** @type {Option} */
const LIMIT = { name: 'limit', type: 'integer', min: 1, max: MAX_INT }

/** The argument of `lockFactory`. */
const spec = group('spec', [
  {
    name: 'driver',
    type: 'choice',
    values: ['redis', 'memory'],
    required: { code: 'ERR_DRIVER_NOT_SUPPORTED', message: 'Driver not supported' },
  },
  { name: 'config', type: 'unread' },
  { name: 'settings', type: 'unread' },
])

const settings = group('settings', [
  {
    name: 'prefix',
    type: 'string',
    required: { code: 'ERR_PREFIX_REQUIRED', message: 'Prefix required' },
  },
  { name: 'commandTimeout', ...WHOLE_MS, max: 3_600_000, default: 10_000 },
  { name: 'replicas', type: 'integer', min: 0, max: MAX_INT, default: 0 },
  { name: 'replicaTimeout', ...WHOLE_MS, max: 3_600_000, default: 1000 },
])

/**
 * The options of node_redis 2.x, in snake_case or camelCase, and those of a cluster and of Sentinel, with the names that ioredis
 * has.
 */
const config = group(
  'config',
  [
    ...ADDRESS,
    { name: 'path', type: 'string' },
    { name: 'url', type: 'secret', secret: true },
    { name: 'nodes', type: 'list' },
    { name: 'cluster', type: 'boolean' },
    { name: 'natMap', type: 'object' },
    { name: 'username', type: 'string' },
    { name: 'user', type: 'string', aliasOf: 'username' },
    { name: 'password', type: 'secret', secret: true },
    { name: 'auth_pass', type: 'secret', secret: true, aliasOf: 'password' },
    { name: 'db', ...DATABASE, default: 0 },
    { name: 'database', ...DATABASE, default: 0, aliasOf: 'db' },
    { name: 'family', type: 'choice', values: ['IPv4', 'IPv6', 4, 6, 0], default: 0 },
    { name: 'tls', type: 'booleanOrObject' },
    { name: 'sentinels', type: 'list' },
    { name: 'name', type: 'string' },
    { name: 'sentinelUsername', type: 'string' },
    { name: 'sentinelPassword', type: 'secret', secret: true },
    { name: 'sentinelTls', type: 'booleanOrObject' },
    { name: 'prefix', type: 'secret', secret: true },
    { name: 'connect_timeout', ...WHOLE_MS },
    {
      name: 'max_attempts',
      type: 'integer',
      min: 0,
      max: MAX_INT,
      must: 'a whole number from 0 on (0: no limit)',
      default: 0,
    },
    { name: 'retry_max_delay', ...WHOLE_MS, default: 2000 },
    { name: 'retry_strategy', type: 'function' },
    { name: 'enable_offline_queue', type: 'boolean', default: true },
    { name: 'socket_keepalive', type: 'boolean', default: true },
    { name: 'socket_nodelay', type: 'boolean', default: true },
    {
      name: 'rename_commands',
      type: 'refusedUnlessEmpty',
      effect: 'refused',
      why: 'the scripts call commands by their own names',
    },
    { name: 'stream', type: 'refused', effect: 'refused', why: 'use host and port, path, or url' },
    withoutEffect('parser', 'there is one parser'),
    withoutEffect('string_numbers', 'no call returns a number that could be too large'),
    withoutEffect('return_buffers', 'no call returns what is stored'),
    withoutEffect('detect_buffers', 'no call returns what is stored'),
    withoutEffect(
      'no_ready_check',
      'there is no ready check; calls wait by themselves while the server is loading',
    ),
    withoutEffect('retry_unfulfilled_commands', 'always on: every command can be sent twice without harm'),
    withoutEffect(
      'disable_resubscribing',
      'the locker subscribes to the news of its locks on every connection',
    ),
    withoutEffect('retry_unref', 'no timer keeps the process alive'),
    withoutEffect('socket_initialdelay', 'the delay of keepalive is that of the operating system'),
    withoutEffect('socket_initial_delay', 'the delay of keepalive is that of the operating system'),
  ],
  { camelCase: true },
)

/** The first element of `nodes`. The others, and the addresses that `natMap` leads to, are the same under other names. */
const node = group('config.nodes[0]', ADDRESS)

/** The first element of `sentinels`. */
const sentinel = group('config.sentinels[0]', [
  { name: 'host', type: 'host', default: '127.0.0.1' },
  { name: 'port', ...PORT, default: 26_379 },
])

/** @type {Option[]} */
const TLS = [
  { name: 'ca', type: 'pem', secret: true },
  { name: 'cert', type: 'pem', secret: true },
  { name: 'key', type: 'pem', secret: true },
  { name: 'servername', type: 'string' },
  { name: 'rejectUnauthorized', type: 'boolean', default: true },
]

const tls = group('config.tls', [...TLS, { name: 'host', type: 'host' }, { name: 'port', ...PORT }])

const sentinelTls = group('config.sentinelTls', TLS)

/** The second argument of `lock` and `tryLock`. */
const lock = group('options', [
  { name: 'expire', ...SECONDS, default: 60, falsy: true, warn: A_DAY },
  { name: 'mode', type: 'keyword', values: ['exclusive', 'shared'], default: 'exclusive' },
  LIMIT,
  { name: 'steal', type: 'boolean', default: false },
  { name: 'retry', type: 'boolean', default: false },
  {
    name: 'maxRetryAttempts',
    type: 'integer',
    min: 0,
    max: Number.POSITIVE_INFINITY,
    default: 20,
  },
  { name: 'retryInterval', type: 'time', unit: 'ms', min: 0, max: MAX_INT, default: 200 },
  { name: 'timeout', type: 'time', unit: 'ms', min: 0, max: Number.POSITIVE_INFINITY },
  { name: 'signal', type: 'signal' },
  { name: 'renew', type: 'boolean', default: false },
  { name: 'maxHold', ...SECONDS },
  { name: 'maxBlocked', ...SECONDS },
])

/** The second argument of `request`. */
const request = group('options', [
  { name: 'mode', type: 'keyword', values: ['exclusive', 'shared'], default: 'exclusive' },
  LIMIT,
  { name: 'ifAvailable', type: 'truth', default: false },
  { name: 'steal', type: 'truth', default: false },
  { name: 'signal', type: 'signal' },
  { name: 'expire', ...SECONDS, default: 60, falsy: true, warn: A_DAY },
  { name: 'maxHold', ...SECONDS },
  { name: 'maxBlocked', ...SECONDS },
  {
    name: 'timeout',
    type: 'time',
    unit: 'ms',
    min: 0,
    max: Number.POSITIVE_INFINITY,
    default: Number.POSITIVE_INFINITY,
  },
])

/** The argument of `lock.extend`. */
const extend = shaped({ name: 'seconds', path: 'seconds', ...SECONDS })

/** @type {(name: string, why: string) => Option} */
function withoutEffect(name, why) {
  return { name, type: 'unread', effect: 'none', why }
}

/** @type {(path: string, options: Option[], spelling?: { camelCase?: boolean }) => Group} */
function group(path, options, { camelCase = false } = {}) {
  const all = options.map((option) => shaped({ ...option, path: `${path}.${option.name}` }))
  /** @type {Group['known']} */
  const known = new Map()
  for (const option of all) {
    known.set(option.name, option)
    if (camelCase) known.set(inCamelCase(option.name), option)
  }
  return { path, options: all, known }
}

/** The same options in an object that messages call otherwise. @param {Group} group @param {string} path @returns {Group} */
function renamed({ options }, path) {
  return group(path, [...options])
}

/** @param {Option} option @returns {Option} */
function shaped(option) {
  return { ...SHAPE, ...option, check: checks[option.type] }
}

/** @param {string} name */
function inCamelCase(name) {
  return name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase())
}

/**
 * What the option takes if it is not said, in milliseconds if it is a time.
 *
 * @param {Group} group
 * @param {string} name
 * @returns {any}
 */
function defaultOf(group, name) {
  const option = group.known.get(name)
  return option?.unit === 's' ? Number(option.default) * 1000 : option?.default
}

module.exports = {
  config,
  defaultOf,
  extend,
  lock,
  MAX_SECONDS,
  node,
  renamed,
  request,
  sentinel,
  sentinelTls,
  settings,
  spec,
  tls,
}
