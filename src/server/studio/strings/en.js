/** English stands where it is used; here is what depends on how many there are. */
export default {
  '{count} waiting': { one: '{count} waiting', other: '{count} waiting' },
  '{count} pictures': { one: 'One picture', other: '{count} pictures' },
};
