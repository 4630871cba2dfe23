extension FuzzTarget {
  /// All targets, in the order in which `make fuzz` runs them.
  static let all: [FuzzTarget] = [
    .portSpecification, .filterRules, .daemonMessages, .daemonSession,
    .openerRequests, .requestLayer, .netlink,
    .captureFile, .dump, .packets, .segmentation, .sharedWords, .interfaceRings,
  ]
}
