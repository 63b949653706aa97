// Ways to take a free lock and to give it up, as commands that a client sends: what there is, what others do, and what has
// been thought of. Each is `{ label, needs?, take, give }`. `needs` is a command without which the server cannot do it.
// `take(numbers)` and `give(numbers)` are lists of commands for the locks with these numbers, each a list of strings;
// `script(source)` in place of a command's name sends the script by its hash.
import { calls, gives, script as ours, takes } from '../contestants/our-scripts.mjs'

const LEASE_MS = '60000'
const PREFIX = 'bench:'
const FENCE = `${PREFIX}fence`
// As long as real ones: the base64 of a hash with 12 digits in it, a random value of peers, and a word.
const keyOf = (number) => `${PREFIX}${'C'.repeat(31)}${number}=`
const randomOf = (number) => `${'R'.repeat(10)}${number}`
const wordOf = (number) => `9${'1'.repeat(6)}${String(Number(number) % 10 ** 7).padStart(7, '0')}00001`

export const script = (source) => ({ source })

const COMPARE_AND_DELETE = script(
  "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0",
)

// A queue without a lock means that a lease has ended while others wait: they come first.
const TAKE_WORD = script(`
local call = redis.call
local token = call('INCR', KEYS[2])
if call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) and call('EXISTS', KEYS[3]) == 0 then return token end
return 0`)

// The register is touched only where the lock is free.
const TAKE_WORD_LATE = script(`
local call = redis.call
if call('EXISTS', KEYS[1], KEYS[3]) == 0 then
  call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return call('INCR', KEYS[2])
end
return 0`)

const GIVE_WORDS = script(`
local call, done = redis.call, 0
for index = 1, #KEYS do
  if call('GET', KEYS[index]) == ARGV[index] then done = done + call('DEL', KEYS[index]) end
end
return done`)

// All that is called in one turn, each lock once. KEYS: the register, the locks to take, their queues, the locks to give up.
// ARGV: how many are to be taken, their words, their leases, the words of those to give up.
const TURN = script(`
local call, takes, all = redis.call, tonumber(ARGV[1]), #KEYS
local replies, gives, word = {}, all - 1 - 2 * takes, 1 + 2 * takes
if gives > 0 then
  local given, key = true, all - gives
  local values = call('MGET', unpack(KEYS, key + 1, all))
  for index = 1, gives do
    given = given and values[index] == ARGV[word + index]
  end
  if given then call('DEL', unpack(KEYS, key + 1, all)) else
    for index = 1, gives do
      if values[index] == ARGV[word + index] then call('DEL', KEYS[key + index]) else replies[index] = 0 end
    end
  end
end
if takes == 0 then return replies end
local free = call('EXISTS', unpack(KEYS, 2, 1 + 2 * takes)) == 0
local token = call('INCRBY', KEYS[1], takes)
for index = 1, takes do
  if free or call('EXISTS', KEYS[1 + index], KEYS[1 + takes + index]) == 0 then
    call('SET', KEYS[1 + index], ARGV[1 + index], 'PX', ARGV[1 + takes + index])
  else replies[index] = 0 end
end
return {token, replies}`)

const queueOf = (number) => `${keyOf(number)}:queue`

const each = (commands) => (numbers) => numbers.flatMap((number) => commands(number))

/** So many locks at a time by one list of commands, as calls of one turn may share them. */
const together = (size, commands) => (numbers) =>
  Array.from({ length: numbers.length / size }, (_, index) =>
    commands(numbers.slice(index * size, (index + 1) * size)),
  ).flat()

const setRandom = (number) => ['SET', keyOf(number), randomOf(number), 'NX', 'PX', LEASE_MS]
const setWord = (number) => ['SET', keyOf(number), wordOf(number), 'NX', 'PX', LEASE_MS]

const takeByScript = (source) =>
  each((number) => [[source, '3', keyOf(number), FENCE, queueOf(number), wordOf(number), LEASE_MS]])

const takeByTransaction = (numbers) => [
  ['MULTI'],
  ['INCRBY', FENCE, String(numbers.length)],
  ...numbers.map(setWord),
  ['EXISTS', ...numbers.map(queueOf)],
  ['EXEC'],
]
// Where a lock with waiters never ends by itself, no queue need be looked for.
const takeWithoutQueue = (numbers) => [
  ['MULTI'],
  ['INCRBY', FENCE, String(numbers.length)],
  ...numbers.map(setWord),
  ['EXEC'],
]
const giveByScript = each((number) => [[COMPARE_AND_DELETE, '1', keyOf(number), wordOf(number)]])
const giveByOneScript = (numbers) => [
  [GIVE_WORDS, String(numbers.length), ...numbers.map(keyOf), ...numbers.map(wordOf)],
]
const giveByDelifeq = each((number) => [['DELIFEQ', keyOf(number), wordOf(number)]])

/** One of our own scripts, with the keys and arguments that the addon sends. */
const callOf = ({ name, keys, args }) => [script(ours(name)), String(keys.length), ...keys, ...args]
const oursOf = (call) => each((number) => [callOf(call(number))])
/** What the addon sends of so many calls of one turn. */
const oursTogether = (size) => ({
  take: together(size, takes),
  give: together(size, (numbers) => [callOf(gives(numbers))]),
})

const takeByTurn = (numbers) => [
  [
    TURN,
    String(1 + 2 * numbers.length),
    FENCE,
    ...numbers.map(keyOf),
    ...numbers.map(queueOf),
    String(numbers.length),
    ...numbers.map(wordOf),
    ...numbers.map(() => LEASE_MS),
  ],
]
const giveByTurn = (numbers) => [
  [TURN, String(1 + numbers.length), FENCE, ...numbers.map(keyOf), '0', ...numbers.map(wordOf)],
]

export const PEERS = 'compare and delete'
export const NOW = 'as it is'

export const protocols = {
  // SET and DEL alone: an unlock that comes late takes the lock of whoever has it by then.
  bare: { take: each((number) => [setRandom(number)]), give: each((number) => [['DEL', keyOf(number)]]) },
  // What peers do.
  [PEERS]: {
    take: each((number) => [setRandom(number)]),
    give: each((number) => [[COMPARE_AND_DELETE, '1', keyOf(number), randomOf(number)]]),
  },
  // One word that says who holds the lock, a token that is counted, a look at the queue: by itself, and of one turn.
  [NOW]: oursTogether(1),
  [`${NOW}, 4 together`]: oursTogether(4),
  [`${NOW}, 16 together`]: oursTogether(16),
  [`${NOW}, 64 together`]: oursTogether(64),
  // What is contended, or was held for longer.
  'scripts, as they are': { take: oursOf(calls.acquire), give: oursOf(calls.release) },
  // The same in other ways.
  'word, scripts': { take: takeByScript(TAKE_WORD), give: giveByScript },
  'word, scripts that look first': { take: takeByScript(TAKE_WORD_LATE), give: giveByScript },
  'word, transaction': { take: together(1, takeByTransaction), give: giveByScript },
  'word, transaction, no queue': { take: together(1, takeWithoutQueue), give: giveByScript },
  'word, 4 together': { take: together(4, takeByTransaction), give: together(4, giveByOneScript) },
  'word, 16 together': { take: together(16, takeByTransaction), give: together(16, giveByOneScript) },
  'word, 16 together, no queue': {
    take: together(16, takeWithoutQueue),
    give: together(16, giveByOneScript),
  },
  'turn 1': { take: together(1, takeByTurn), give: together(1, giveByTurn) },
  'turn 4': { take: together(4, takeByTurn), give: together(4, giveByTurn) },
  'turn 16': { take: together(16, takeByTurn), give: together(16, giveByTurn) },
  'word, DELIFEQ': { needs: 'DELIFEQ', take: together(1, takeByTransaction), give: giveByDelifeq },
  'word, DELIFEQ, no queue': { needs: 'DELIFEQ', take: together(1, takeWithoutQueue), give: giveByDelifeq },
  'word, 16 together, DELIFEQ': {
    needs: 'DELIFEQ',
    take: together(16, takeByTransaction),
    give: giveByDelifeq,
  },
}
