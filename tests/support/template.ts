import { readFileSync } from 'node:fs';
import path from 'node:path';
import { serverlessPackage } from './package.ts';

/** A value of a template: plain, or an intrinsic function (`{ Ref: … }`). */
export type Value = string | number | boolean | null | Value[] | { [name: string]: Value };
// biome-ignore lint/suspicious/noExplicitAny: tests check resolved values property by property
export type Resolved = any;

export type Resource = {
  Type: string;
  Condition?: string;
  DependsOn?: string | string[];
  DeletionPolicy?: string;
  UpdateReplacePolicy?: string;
  Properties?: Record<string, Value>;
};

/** A template with its conditions evaluated. */
export type Template = {
  /** As serverless sends it to CloudFormation. */
  raw: { Resources: Record<string, Resource>; Conditions?: Record<string, Value>; Outputs?: Record<string, Resolved> };
  /** The resources that CloudFormation would create, with every intrinsic function resolved. Ids and ARNs are placeholders. */
  resources: Record<string, Omit<Resource, 'Properties'> & { Properties: Resolved }>;
  /** The resources of a type, by their logical ids. */
  ofType(type: string): [id: string, properties: Resolved][];
};

/**
 * The template that `serverless package` makes from the project in `dir`, without credentials and without a network.
 * @param parameters as `--param`
 * @param env the environment for serverless.yml
 */
export async function synthesise(
  dir: string,
  stage: string,
  parameters: Record<string, string> = {},
  env: Record<string, string> = {},
): Promise<Template> {
  const given = Object.entries(parameters).flatMap(([name, value]) => ['--param', `${name}=${value}`]);
  await serverlessPackage(dir, env, ['--stage', stage, ...given]);
  const file = path.join(dir, '.serverless', 'cloudformation-template-update-stack.json');
  return evaluated(JSON.parse(readFileSync(file, 'utf8')));
}

/** Evaluates the conditions and intrinsic functions of a template, as CloudFormation does. */
export function evaluated(raw: Template['raw']): Template {
  const resolver = new Resolver(raw);
  const made = Object.entries(raw.Resources).filter(([, { Condition }]) => resolver.holds(Condition));
  const resources = Object.fromEntries(
    made.map(([id, resource]) => [id, { ...resource, Properties: resolver.resolve(resource.Properties ?? {}) }]),
  );
  const ofType = (type: string) =>
    Object.entries(resources).flatMap(([id, { Type, Properties }]): [string, Resolved][] =>
      Type === type ? [[id, Properties]] : [],
    );
  return { raw, resources, ofType };
}

const PSEUDO: Record<string, string> = {
  'AWS::Region': 'eu-central-1',
  'AWS::AccountId': '123456789012',
  'AWS::Partition': 'aws',
  'AWS::URLSuffix': 'amazonaws.com',
};
const HERE = 'eu-central-1:123456789012';
const NO_VALUE = Symbol('AWS::NoValue');

/** Placeholders: `Ref` and `Fn::GetAtt` of X are `<X>` and `<X.Attribute>`, except for ARNs that are parts of others. */
class Resolver {
  readonly #raw: Template['raw'];
  constructor(raw: Template['raw']) {
    this.#raw = raw;
  }

  holds(condition: string | undefined): boolean {
    if (condition === undefined) return true;
    const expression = this.#raw.Conditions?.[condition];
    if (expression === undefined) throw new Error(`no condition ${condition}`);
    return this.resolve(expression) === true;
  }

  resolve(value: Value): Resolved {
    if (Array.isArray(value)) return value.map((one) => this.resolve(one)).filter((one) => one !== NO_VALUE);
    if (value === null || typeof value !== 'object') return value;
    const [[name, argument] = ['', null]] = Object.entries(value);
    if (Object.keys(value).length === 1 && (name === 'Ref' || name === 'Condition' || name.startsWith('Fn::'))) {
      return this.#apply(name, argument as Value);
    }
    const members = Object.entries(value).map(([member, one]) => [member, this.resolve(one)] as const);
    return Object.fromEntries(members.filter(([, one]) => one !== NO_VALUE));
  }

  #apply(name: string, argument: Value): Resolved {
    if (name === 'Ref') return this.#ref(argument as string);
    if (name === 'Fn::GetAtt') return this.#attribute(argument);
    if (name === 'Fn::Sub') return this.#substitute(argument);
    const list = argument as Value[];
    if (name === 'Fn::If') return this.resolve(list[this.holds(list[0] as string) ? 1 : 2] as Value);
    if (name === 'Condition') return this.holds(argument as string);
    const [first, second, ...rest] = this.resolve(list) as Resolved[];
    if (name === 'Fn::Equals') return first === second;
    if (name === 'Fn::Not') return !first;
    if (name === 'Fn::And') return [first, second, ...rest].every(Boolean);
    if (name === 'Fn::Or') return [first, second, ...rest].some(Boolean);
    if (name === 'Fn::Join') return second.join(first);
    if (name === 'Fn::Split') return second.split(first);
    if (name === 'Fn::Select') return second[Number(first)];
    throw new Error(`${name}: this intrinsic function is not supported here`);
  }

  #ref(id: string): Resolved {
    if (id === 'AWS::NoValue') return NO_VALUE;
    return PSEUDO[id] ?? `<${this.#existing(id)}>`;
  }

  /** @throws Error if the resource is not in the template, or its condition is false */
  #existing(id: string): string {
    const resource = this.#raw.Resources[id];
    if (!resource || !this.holds(resource.Condition)) throw new Error(`${id} is referenced and does not exist`);
    return id;
  }

  #attribute(argument: Value): string {
    const [id = '', attribute = ''] = Array.isArray(argument)
      ? (argument as string[])
      : String(argument).split(/\.(.*)/s);
    const { Type, Properties = {} } = this.#raw.Resources[this.#existing(id)] as Resource;
    if (Type === 'AWS::Logs::LogGroup') return `arn:aws:logs:${HERE}:log-group:${Properties.LogGroupName}:*`;
    if (Type === 'AWS::Lambda::Function') return `arn:aws:lambda:${HERE}:function:${Properties.FunctionName}`;
    if (attribute === 'DBProxyArn') return `arn:aws:rds:${HERE}:db-proxy:<${id}.Id>`;
    return `<${id}.${attribute}>`;
  }

  #substitute(argument: Value): string {
    const [text, own] = (Array.isArray(argument) ? argument : [argument, {}]) as [string, Record<string, Value>];
    return text.replace(/\$\{(!?)([^}]+)\}/g, (all, literal, name) => {
      if (literal) return `\${${name}}`;
      if (Object.hasOwn(own, name)) return this.resolve(own[name] as Value);
      if (name.startsWith('AWS::')) return PSEUDO[name] ?? all;
      return name.includes('.') ? this.#attribute(name) : this.#ref(name);
    });
  }
}

export type Statement = { effect: string; action: string; resource: string; condition: Resolved };

/** What a role allows and denies: every action with every resource of its attached and inline policies. */
export function statementsOf(template: Template, roleId: string): Statement[] {
  const { ManagedPolicyArns = [], Policies = [] } = template.resources[roleId]?.Properties ?? {};
  const attached = (ManagedPolicyArns as string[]).map((ref) => {
    const policy = template.resources[ref.replace(/^<(.*)>$/, '$1')];
    if (policy?.Type !== 'AWS::IAM::ManagedPolicy')
      throw new Error(`${roleId}: ${ref} is not a policy of this template`);
    return policy.Properties.PolicyDocument;
  });
  const inline = Policies.map(({ PolicyDocument }: Resolved) => PolicyDocument);
  return [...attached, ...inline].flatMap(({ Statement }) => Statement.flatMap(single));
}

function single({ Effect: effect, Action, Resource, Condition: condition, ...others }: Resolved): Statement[] {
  if (Object.keys(others).some((name) => name !== 'Sid')) throw new Error(`a statement has ${Object.keys(others)}`);
  return [Action]
    .flat()
    .flatMap((action) => [Resource].flat().map((resource) => ({ effect, action, resource, condition })));
}
