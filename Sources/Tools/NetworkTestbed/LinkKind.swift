internal import CLinux
package import NetmapCore
internal import NetmapLinuxSetup

extension Link {
  /// Makes an interface of a kind that needs no other description, such as `bridge` or `veth`, whose peer the kernel
  /// names.
  ///
  /// - Parameters:
  ///   - kind: The name of the kind, as in `ip link add type KIND`.
  ///   - name: The interface's name; at most 15 characters.
  ///   - parent: The interface that carries its frames, for a kind that has one.
  /// - Throws: ``NetmapError`` when the kernel refuses, `EOPNOTSUPP` when it has no driver for the kind.
  package init(
    kind: String, named name: String, on parent: Link? = nil
  ) throws(NetmapError) {
    var request = NetlinkMessage(RTM_NEWLINK, flags: NLM_F_CREATE | NLM_F_EXCL)
    request.attribute(IFLA_IFNAME, name)
    if let parent { request.attribute(IFLA_LINK, parent.index) }
    request.nest(IFLA_LINKINFO) { request in request.attribute(IFLA_INFO_KIND, kind) }
    _ = try request.exchange(name)
    try self.init(named: name)
  }
}
