import { loadAwsServiceSpecSync } from '@aws-cdk/aws-service-spec';
import type { Resolved, Template, Value } from './template.ts';

/** AWS' description of CloudFormation's resources, from its CDK. */
const aws = loadAwsServiceSpecSync();
type ResourceSpec = ReturnType<typeof lookUp>[number];
type PropertyType = ResourceSpec['properties'][string]['type'];

/**
 * What CloudFormation would refuse: unknown types, properties and attributes; values of the wrong type or not in the list of
 * allowed values; missing required properties; references to resources that do not exist; circular dependencies.
 *
 * @returns one line per problem, `Id.Property: what`
 */
export function schemaProblems(template: Template): string[] {
  const specs = new Map(Object.entries(template.raw.Resources).map(([id, { Type }]) => [id, lookUp(Type)[0]]));
  const properties = Object.entries(template.resources).flatMap(([id, { Type, Properties }]) => {
    if (Type.startsWith('Custom::')) return Properties.ServiceToken ? [] : [`${id}.ServiceToken: is missing`];
    const spec = specs.get(id);
    return spec ? membersProblems(id, Properties, spec.properties) : [`${id}: ${Type} is unknown`];
  });
  return [...properties, ...referenceProblems(template, specs), ...cycles(template)];
}

/** Whether AWS' CDK lists the metric with exactly these dimensions. */
export function isAwsMetric(namespace: string, name: string, dimensions: string[]): boolean {
  return aws
    .lookup('metric', 'name', 'equals', name)
    .filter((metric) => metric.namespace === namespace)
    .some((metric) =>
      aws
        .follow('usesDimensionSet', metric)
        .some(({ entity }) => entity.dimensions.map((one) => one.name).join() === dimensions.join()),
    );
}

function lookUp(type: string) {
  return aws.lookup('resource', 'cloudFormationType', 'equals', type);
}

function membersProblems(path: string, value: Resolved, properties: ResourceSpec['properties']): string[] {
  const missing = Object.entries(properties).flatMap(([name, { required }]) =>
    required && value[name] === undefined ? [`${path}.${name}: is missing`] : [],
  );
  const wrong = Object.entries(value).flatMap(([name, member]) => {
    const property = properties[name];
    return property ? valueProblems(`${path}.${name}`, member, property.type) : [`${path}.${name}: is unknown`];
  });
  return [...missing, ...wrong];
}

function valueProblems(path: string, value: Resolved, type: PropertyType): string[] {
  const no = (what: string) => [`${path}: must be ${what}, is ${JSON.stringify(value)}`];
  switch (type.type) {
    case 'string':
      if (typeof value === 'object') return no('a string');
      return type.allowedValues?.includes(String(value)) === false ? no(`one of ${type.allowedValues}`) : [];
    case 'integer':
    case 'number':
      return Number.isFinite(Number(value)) && value !== '' ? [] : no(type.type);
    case 'boolean':
      return ['true', 'false'].includes(String(value)) ? [] : no('true or false');
    case 'array':
      if (!Array.isArray(value)) return no('an array');
      return value.flatMap((one, i) => valueProblems(`${path}[${i}]`, one, type.element));
    case 'map':
      if (!isObject(value)) return no('a map');
      return Object.entries(value).flatMap(([name, one]) => valueProblems(`${path}.${name}`, one, type.element));
    case 'ref':
      if (!isObject(value)) return no('an object');
      return membersProblems(path, value, aws.get('typeDefinition', type.reference.$ref).properties);
    case 'union':
      return type.types.some((one) => valueProblems(path, value, one).length === 0) ? [] : no('of an allowed type');
    default:
      return [];
  }
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

type Reference = { id: string; attribute?: string };

function referenceProblems({ raw }: Template, specs: Map<string, ResourceSpec | undefined>): string[] {
  return Object.entries(raw.Resources).flatMap(([from, resource]) => {
    const missing = [resource.DependsOn ?? []].flat().filter((id) => !raw.Resources[id]);
    const unknown = referencesIn(resource.Properties ?? {}).flatMap(({ id, attribute }) => {
      if (id.startsWith('AWS::')) return [];
      if (!raw.Resources[id]) return [id];
      return attribute && !hasAttribute(specs.get(id), attribute) ? [`${id}.${attribute}`] : [];
    });
    return [...missing, ...unknown].map((what) => `${from}: refers to ${what}, which does not exist`);
  });
}

function hasAttribute(spec: ResourceSpec | undefined, attribute: string): boolean {
  return !spec || Object.hasOwn(spec.attributes, attribute);
}

/** Every `Ref`, `Fn::GetAtt` and `${…}` of `Fn::Sub` in a value. */
function referencesIn(value: Value): Reference[] {
  if (value === null || typeof value !== 'object') return [];
  if (Array.isArray(value)) return value.flatMap(referencesIn);
  return Object.entries(value).flatMap(([name, argument]): Reference[] => {
    if (name === 'Ref') return [{ id: String(argument) }];
    if (name === 'Fn::GetAtt') return [referenceOf(Array.isArray(argument) ? argument.join('.') : String(argument))];
    if (name === 'Fn::Sub') {
      const [text, own = {}] = (Array.isArray(argument) ? argument : [argument]) as [string, Record<string, Value>?];
      const names = [...text.matchAll(/\$\{([^!}][^}]*)\}/g)].map(([, inner]) => inner as string);
      return [...names.filter((inner) => !Object.hasOwn(own, inner)).map(referenceOf), ...referencesIn(own)];
    }
    return referencesIn(argument);
  });
}

function referenceOf(text: string): Reference {
  const [id = '', attribute] = text.split(/\.(.*)/s);
  return attribute ? { id, attribute } : { id };
}

/** Resources that wait for themselves, by their references and dependencies. */
function cycles({ raw }: Template): string[] {
  const done = new Set<string>();
  const visit = (id: string, path: string[]): string[] => {
    if (path.includes(id)) return [`cycle: ${[...path.slice(path.indexOf(id)), id].join(' → ')}`];
    const resource = raw.Resources[id];
    if (!resource || done.has(id)) return [];
    const next = [
      ...[resource.DependsOn ?? []].flat(),
      ...referencesIn(resource.Properties ?? {}).map((one) => one.id),
    ];
    const found = [...new Set(next)].flatMap((one) => visit(one, [...path, id]));
    done.add(id);
    return found;
  };
  return Object.keys(raw.Resources).flatMap((id) => visit(id, []));
}
