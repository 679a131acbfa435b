import { expect, it } from 'vitest';
import { neighbours, withQuery } from '../../panel/src/url-state.ts';

it('sets, replaces and removes members of a query', () => {
  expect(withQuery('/devices', { search: 'a b' })).toBe('/devices?search=a+b');
  expect(withQuery('/devices?search=a&after=5', { after: undefined })).toBe('/devices?search=a');
  expect(withQuery('/devices?search=a', { search: '' })).toBe('/devices');
  expect(withQuery('/devices?search=a', { search: 'b&c=d' })).toBe('/devices?search=b%26c%3Dd');
});

it('the first page has a next page only', () => {
  expect(neighbours('/devices?fleet_id=f', 'after', '/api/v1/devices?fleet_id=f&after=100')).toEqual({
    first: undefined,
    previous: undefined,
    next: '/devices?fleet_id=f&after=100&trail=',
  });
});

it('previous leads back page by page, and keeps the filters', () => {
  const api = (after: number) => `/api/v1/devices?after=${after}`;
  const second = neighbours('/devices?fleet_id=f', 'after', api(100)).next as string;
  const third = neighbours(second, 'after', api(200)).next as string;
  const fourth = neighbours(third, 'after', api(300)).next as string;
  expect(neighbours(fourth, 'after', undefined)).toEqual({
    first: '/devices?fleet_id=f',
    previous: third,
    next: undefined,
  });
  expect(neighbours(third, 'after', undefined).previous).toBe(second);
  expect(neighbours(second, 'after', undefined).previous).toBe('/devices?fleet_id=f');
});

it('a page without a trail, as in a shared link of another tool, leads to the first page', () => {
  expect(neighbours('/devices?after=200', 'after', undefined)).toEqual({
    first: '/devices',
    previous: undefined,
    next: undefined,
  });
});

it('the trail does not grow without end', () => {
  let url = '/devices';
  for (let after = 1; after <= 100; after++) {
    url = neighbours(url, 'after', `/api/v1/devices?after=${after}`).next as string;
  }
  expect(new URLSearchParams(url.split('?')[1]).get('trail')?.split('~')).toHaveLength(40);
});
