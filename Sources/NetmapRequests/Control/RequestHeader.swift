internal import CNetmap

/// The header of a control request, as the program passed it: `struct nmreq_header`.
struct RequestHeader: Sendable {
  typealias Layout = RequestLayout.Header

  var block = ByteBlock<88>()

  /// `nr_version`. netmap never changes it.
  var version: UInt16 { block.load(Layout.version) }

  /// Whether the version is one that control requests accept.
  var hasKnownVersion: Bool {
    (NETMAP_MIN_API...NETMAP_MAX_API).contains(Int32(version))
  }

  /// `nr_reqtype`, which may be unknown.
  var rawType: UInt16 { block.load(Layout.type) }

  /// `nr_reserved`; the program must set it to 0.
  var reserved: UInt32 { block.load(Layout.reserved) }

  /// `nr_options`: the address of the first option, or 0. netmap never changes it.
  var options: UInt64 { block.load(Layout.options) }

  /// `nr_body`: the address of the body, or 0. netmap never changes it.
  var body: UInt64 { block.load(Layout.body) }

  /// `nr_name`, up to its first NUL.
  var name: RequestName { RequestName(block.bytes, at: Layout.name, limit: Layout.nameByteCount) }

  /// Makes the last byte of `nr_name` a NUL.
  mutating func terminateName() {
    block[Layout.name + Layout.nameByteCount - 1] = 0
  }

  /// Stores a name and its NUL. The bytes behind the NUL stay.
  mutating func store(_ name: RequestName) {
    block.store(name, at: Layout.name, limit: Layout.nameByteCount)
  }
}
