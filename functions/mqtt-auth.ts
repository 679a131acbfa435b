import { mqttAccessRefused } from '../lib/errors.ts';
import { isForm } from '../lib/http/body.ts';
import { brokerSecret } from '../lib/http/broker-auth.ts';
import { endpoint, routes, type Spec } from '../lib/http/endpoint.ts';
import { answer, answerReply } from '../lib/mqtt-auth/answer.ts';
import { checkAcl } from '../lib/mqtt-auth/check-acl.ts';
import { checkResource } from '../lib/mqtt-auth/check-resource.ts';
import { checkTopic } from '../lib/mqtt-auth/check-topic.ts';
import { checkUser } from '../lib/mqtt-auth/check-user.ts';
import { checkVhost } from '../lib/mqtt-auth/check-vhost.ts';
import {
  aclQuestion,
  brokerQuery,
  resourceQuestion,
  topicQuestion,
  userQuestion,
  vhostQuestion,
} from '../lib/mqtt-auth/input.ts';

const path = '/api/v1/mqtt/auth';
/** What all questions have in common. The body has room for three escaped MQTT strings of 64 KB. */
const common = {
  method: 'POST',
  auth: brokerSecret,
  query: brokerQuery,
  maxBodyBytes: 2 * 1024 * 1024,
  replies: {
    200: {
      description: 'Allowed or denied. A request with the content type of a form receives the text `allow` or `deny`',
      body: answerReply,
      text: 'text/plain',
    },
  },
  problems: [mqttAccessRefused],
} satisfies Partial<Spec>;

const user = endpoint({
  ...common,
  path: `${path}/user`,
  summary: 'May the user connect?',
  description: 'For RabbitMQ, EMQX and mosquitto-go-auth.',
  body: userQuestion,
  run: async (ctx, { query, body, headers }) => answer(isForm(headers), body, await checkUser(ctx, query.broker, body)),
});

const vhost = endpoint({
  ...common,
  path: `${path}/vhost`,
  summary: 'May the user enter the virtual host?',
  description: 'For RabbitMQ.',
  body: vhostQuestion,
  run: async (ctx, { query, body, headers }) => answer(isForm(headers), {}, await checkVhost(ctx, query.broker, body)),
});

const resource = endpoint({
  ...common,
  path: `${path}/resource`,
  summary: 'May the user use the queue or exchange?',
  description: 'For RabbitMQ. A user may use the queues of its own client id and the exchange `amq.topic`.',
  body: resourceQuestion,
  run: async (ctx, { query, body, headers }) =>
    answer(isForm(headers), {}, await checkResource(ctx, query.broker, body)),
});

const topic = endpoint({
  ...common,
  path: `${path}/topic`,
  summary: 'May the user use the topic, in AMQP notation?',
  description: 'For RabbitMQ.',
  body: topicQuestion,
  run: async (ctx, { query, body, headers }) => answer(isForm(headers), {}, await checkTopic(ctx, query.broker, body)),
});

const acl = endpoint({
  ...common,
  path: `${path}/acl`,
  summary: 'May the user use the topic?',
  description: 'For EMQX and mosquitto-go-auth.',
  body: aclQuestion,
  run: async (ctx, { query, body, headers }) => answer(isForm(headers), body, await checkAcl(ctx, query.broker, body)),
});

export const handler = routes(user, vhost, resource, topic, acl);
