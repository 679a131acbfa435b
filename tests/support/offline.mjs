// For `node --import`: the process reaches no other machine, and says what it tried to reach.
import dns from 'node:dns';
import net from 'node:net';

const LOCAL = ['localhost', '127.0.0.1', '::1', undefined];
const refuse = (what) => {
  console.error(`network: ${what}`);
  throw Object.assign(new Error(`no network: ${what}`), { code: 'ENETUNREACH' });
};

const { connect } = net.Socket.prototype;
net.Socket.prototype.connect = function (...args) {
  const [options] = Array.isArray(args[0]) ? args[0] : args;
  if (typeof options === 'object' && !options.path && !LOCAL.includes(options.host)) refuse(options.host);
  return connect.apply(this, args);
};
const { lookup } = dns;
dns.lookup = (host, ...rest) => (LOCAL.includes(host) ? lookup(host, ...rest) : refuse(host));
