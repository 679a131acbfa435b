import * as z from 'zod/mini';
import { createBrokerBody, updateBrokerBody } from '../lib/brokers/input.ts';
import { listedBroker, oneBroker } from '../lib/brokers/row.ts';
import { summarisedBroker } from '../lib/brokers/summary.ts';
import { testResult } from '../lib/brokers/test-connection.ts';
import { filter, newJobBody } from '../lib/bulk-assign/input.ts';
import { jobDevice } from '../lib/bulk-assign/list-job-devices.ts';
import { previewReply } from '../lib/bulk-assign/preview.ts';
import { jobReply } from '../lib/bulk-assign/row.ts';
import { handedReply } from '../lib/devices/follows.ts';
import { registerBody } from '../lib/devices/input.ts';
import { mqttReply } from '../lib/devices/mqtt-reply.ts';
import { registerReply } from '../lib/devices/register.ts';
import { deviceReply, resolvedBrokerReply } from '../lib/devices/row.ts';
import { updateDeviceBody } from '../lib/devices/update.ts';
import { deviceEvent } from '../lib/events/list.ts';
import { answerReply } from '../lib/mqtt-auth/answer.ts';
import { createKeyBody, revokeKeyBody } from '../lib/provisioning-keys/input.ts';
import { createdKey, listedKey, revokedKey } from '../lib/provisioning-keys/row.ts';
import { brokerConfig } from '../lib/resolution/client-config.ts';
import { explainedStep } from '../lib/resolution/explain.ts';

/** The names of what more than one route uses, or what a reader looks for. Any other body is named after its route. */
const NAMED: Record<string, z.ZodMiniType> = {
  Registration: registerBody,
  Registered: registerReply,
  Mqtt: mqttReply,
  BrokerConfig: brokerConfig,
  Device: deviceReply,
  DeviceChange: updateDeviceBody,
  DeviceEvent: deviceEvent,
  ResolvedBroker: resolvedBrokerReply,
  ExplainedStep: explainedStep,
  Handed: handedReply,
  Broker: oneBroker,
  ListedBroker: listedBroker,
  SummarisedBroker: summarisedBroker,
  NewBroker: createBrokerBody,
  BrokerChange: updateBrokerBody,
  ConnectionTest: testResult,
  NewProvisioningKey: createKeyBody,
  IssuedProvisioningKey: createdKey,
  ProvisioningKey: listedKey,
  Revocation: revokeKeyBody,
  RevokedProvisioningKey: revokedKey,
  NewJob: newJobBody,
  JobFilter: filter,
  Job: jobReply,
  JobPreview: previewReply,
  JobDevice: jobDevice,
  MqttDecision: answerReply,
};

for (const [name, schema] of Object.entries(NAMED)) giveName(schema, name);

/** The schema's name in `components/schemas`: the one that it has, or else this one. */
export function giveName(schema: z.ZodMiniType, name: string): void {
  const known = z.globalRegistry.get(schema);
  if (!known?.id) z.globalRegistry.add(schema, { ...known, id: name });
}

type JsonSchema = Record<string, unknown>;

/** Collects schemas under their names. */
export class Components {
  readonly schemas: Record<string, JsonSchema> = {};

  /**
   * The JSON schema of a request (`input`) or a reply (`output`). Schemas with a name are references.
   * @throws if two schemas have the same name
   */
  add(schema: z.ZodMiniType, io: 'input' | 'output'): JsonSchema {
    const { $schema, $defs, ...rest } = z.toJSONSchema(schema, {
      io,
      unrepresentable: 'any',
      ...(io === 'output' && { override: tidy }),
    });
    const [text, ...named] = [rest, ...Object.values($defs ?? {})].map((one) =>
      JSON.stringify(one).replaceAll('"#/$defs/', '"#/components/schemas/'),
    ) as [string, ...string[]];
    for (const [index, name] of Object.keys($defs ?? {}).entries()) {
      const before = this.schemas[name];
      if (before && JSON.stringify(before) !== named[index]) throw new Error(`two schemas have the name ${name}`);
      this.schemas[name] = JSON.parse(named[index] as string);
    }
    return JSON.parse(text);
  }
}

/** In replies, removes the bounds of every whole number in JavaScript. */
function tidy({ jsonSchema }: { jsonSchema: JsonSchema }): void {
  if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
  if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
}
