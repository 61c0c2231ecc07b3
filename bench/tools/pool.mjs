// Nodemailer's pool with its defaults, for bench.senders: node pool.mjs PORT COUNT CONTENT.json
// CONTENT.json: {subject, text: [pieces], html: [pieces]}; the reader's own token goes between the pieces.
import { readFileSync } from 'node:fs'
import nodemailer from 'nodemailer'

const [port, count, path] = process.argv.slice(2)
const content = JSON.parse(readFileSync(path, 'utf-8'))
const transport = nodemailer.createTransport({ host: '127.0.0.1', port: Number(port), pool: true, ignoreTLS: true })

function mail(number) {
  const token = 'k1.' + number.toString(16).padStart(86, '0')
  return {
    from: 'Степная редакция <news@example.org>',
    to: { name: `Айгүл Бекова ${number}`, address: `reader${number}@example.net` },
    subject: content.subject,
    text: content.text.join(token),
    html: content.html.join(token),
    headers: {
      'List-Unsubscribe': `<https://news.example.org/unsubscribe/${token}>`,
      'List-Unsubscribe-Post': 'List-Unsubscribe=One-Click',
    },
  }
}

const idle = process.memoryUsage.rss()
const cpu = process.cpuUsage()
const began = process.hrtime.bigint()
let next = 0
let messages = 0
async function worker() {
  while (next < Number(count)) {
    await transport.sendMail(mail(next++))
    messages++
  }
}
// As many messages at once as its documentation advises: the pool is never idle, and memory stays flat.
await Promise.all(Array.from({ length: 20 }, worker))
const seconds = Number(process.hrtime.bigint() - began) / 1e9
const used = process.cpuUsage(cpu)
transport.close()
const peak = Number(readFileSync('/proc/self/status', 'utf-8').match(/VmHWM:\s+(\d+)/)[1]) * 1024
console.log(JSON.stringify({ messages, seconds, cpu: (used.user + used.system) / 1e6, idle_mb: idle / 1e6, peak_mb: peak / 1e6 }))
