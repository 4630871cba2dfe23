@testable import NetmapCore

extension FuzzTarget {
  /// The first byte says which interfaces exist and which options are on; the text follows.
  static let portSpecification = FuzzTarget(
    name: "port-specification", subject: "port names and specifications, as programs pass them"
  ) { bytes in
    var input = FuzzInput(bytes)
    let choice = input.byte()
    let text = input.takeRest()
    // An interface exists or not, always with the same answer for the same name.
    func exists(_ name: String) -> Bool {
      name.utf8.reduce(choice) { ($0 &+ $1) &* 31 } & 3 != 0
    }
    let enabling: Set<PortOption> = choice & 4 == 0 ? [] : [.offset]
    let disabling: Set<PortOption> = choice & 8 == 0 ? [] : [.extmem, .share]
    do throws(NetmapError) {
      let value = try PortSpecification.parse(
        bytes: text, enabling: enabling, disabling: disabling, interfaceExists: exists)
      require(value.memoryID != 0, "region 0 stands for no region")
      require(isAccepted(value.name), "an accepted name is a name")
      // The value's own text parses to the value, whichever interfaces exist, and is the only text of the value.
      for answer in [false, true] {
        let again = try? PortSpecification.parse(
          bytes: value.bytes, enabling: enabling, disabling: disabling,
          interfaceExists: { _ in answer })
        require(again == value, "\(value) parses to an equal value")
        require(again?.bytes == value.bytes, "\(value) has one text")
      }
      if disabling.contains(.extmem) {
        require(
          value.extmem == nil && value.sharedPort == nil, "an option that is off sets nothing")
      }
      require(enabling.contains(.offset) || value.offset == nil, "@offset must be enabled")
      require(
        PortSpecification.isPortSpecification(String(decoding: text, as: UTF8.self)),
        "an accepted text looks like a specification")
    } catch {
      let isOff = error.code == .unsupported
      require(error.code == .invalidArgument || isOff, "refusals are EINVAL or EOPNOTSUPP")
      require(!error.subject.isEmpty && !error.reason.isEmpty, "a refusal says why")
      require(!error.description.contains(where: \.isNewline), "a refusal has one line")
    }
    checkName(text)
  }

  private static func isAccepted(_ name: PortName) -> Bool {
    (try? PortName(bytes: name.bytes)) == name
  }

  /// A name is its parent, its bracket and its pipe, down to a port that is no pipe.
  private static func checkName(_ bytes: [UInt8]) {
    guard var name = try? PortName(bytes: bytes) else { return }
    require(name.bytes == bytes && (1...63).contains(bytes.count), "a name keeps its bytes")
    while let pipe = name.pipe {
      let base = name.base
      require(
        base.bytes + [UInt8(ascii: pipe.role == .master ? "{" : "}")] + pipe.idBytes == name.bytes,
        "a pipe's name is composed")
      require(isAccepted(base) && base.bytes.count < name.bytes.count, "a parent is a port")
      name = base
    }
    require(name.base == name, "a port that is no pipe is its own base")
  }
}
