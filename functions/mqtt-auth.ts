import { mqttAccessRefused } from '../lib/errors.ts';
import { brokerSecret } from '../lib/http/broker-auth.ts';
import { endpoint, routes, type Spec } from '../lib/http/endpoint.ts';
import { verdict } from '../lib/http/verdict.ts';
import { checkAcl } from '../lib/mqtt-auth/check-acl.ts';
import { checkResource } from '../lib/mqtt-auth/check-resource.ts';
import { checkTopic } from '../lib/mqtt-auth/check-topic.ts';
import { checkUser } from '../lib/mqtt-auth/check-user.ts';
import { checkVhost } from '../lib/mqtt-auth/check-vhost.ts';
import {
  aclQuestion,
  answerReply,
  brokerQuery,
  resourceQuestion,
  topicQuestion,
  userQuestion,
  vhostQuestion,
} from '../lib/mqtt-auth/input.ts';

const path = '/api/v1/mqtt/auth';
/** What every question has in common. Three MQTT strings of 64 KB, escaped, fit into the body. */
const common = {
  method: 'POST',
  auth: brokerSecret,
  query: brokerQuery,
  maxBodyBytes: 2 * 1024 * 1024,
  replies: {
    200: {
      description: 'Yes or no. To a form the answer is the text `allow` or `deny`',
      body: answerReply,
      text: 'text/plain',
    },
  },
  problems: [mqttAccessRefused],
} satisfies Partial<Spec>;

const user = endpoint({
  ...common,
  path: `${path}/user`,
  summary: 'May it connect?',
  description: 'For RabbitMQ, EMQX and mosquitto-go-auth.',
  body: userQuestion,
  run: async (ctx, { query, body, headers }) => verdict(headers, body, await checkUser(ctx, query.broker, body)),
});

const vhost = endpoint({
  ...common,
  path: `${path}/vhost`,
  summary: 'May it enter the virtual host?',
  description: 'For RabbitMQ.',
  body: vhostQuestion,
  run: async (ctx, { query, body, headers }) => verdict(headers, {}, await checkVhost(ctx, query.broker, body)),
});

const resource = endpoint({
  ...common,
  path: `${path}/resource`,
  summary: 'May it use the queue or exchange?',
  description: 'For RabbitMQ: the queues of its own client id, and the exchange `amq.topic`.',
  body: resourceQuestion,
  run: async (ctx, { query, body, headers }) => verdict(headers, {}, await checkResource(ctx, query.broker, body)),
});

const topic = endpoint({
  ...common,
  path: `${path}/topic`,
  summary: 'May it use the topic? In the spelling of AMQP',
  description: 'For RabbitMQ.',
  body: topicQuestion,
  run: async (ctx, { query, body, headers }) => verdict(headers, {}, await checkTopic(ctx, query.broker, body)),
});

const acl = endpoint({
  ...common,
  path: `${path}/acl`,
  summary: 'May it use the topic?',
  description: 'For EMQX and mosquitto-go-auth.',
  body: aclQuestion,
  run: async (ctx, { query, body, headers }) => verdict(headers, body, await checkAcl(ctx, query.broker, body)),
});

export const handler = routes(user, vhost, resource, topic, acl);
