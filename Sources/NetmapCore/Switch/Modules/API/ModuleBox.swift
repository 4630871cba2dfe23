/// A module behind a C pointer.
///
/// Each batch costs one call through the class's method table and one through the module's own
/// conformance. The module's loop over packets is compiled for that module alone.
class AnyModuleBox {
  func lookup(_ batch: borrowing SwitchBatch) {}

  func configure(_ configuration: String) throws(NetmapError) {}

  func portLeft(_ index: Int) {}

  var statistics: [SwitchModuleStatistic] { [] }
}

final class ModuleBox<Module: SwitchModule & ~Copyable>: AnyModuleBox {
  private let module: Module

  init(_ module: consuming Module) {
    self.module = module
  }

  override func lookup(_ batch: borrowing SwitchBatch) { module.lookup(batch) }

  override func configure(_ configuration: String) throws(NetmapError) {
    try module.configure(configuration)
  }

  override func portLeft(_ index: Int) { module.portLeft(index) }

  override var statistics: [SwitchModuleStatistic] { module.statistics }
}

/// Makes modules of one type.
class AnyModuleFactory {
  func make(_ configuration: String) throws(NetmapError) -> AnyModuleBox { AnyModuleBox() }
}

final class ModuleFactory<Module: SwitchModule & ~Copyable>: AnyModuleFactory {
  override func make(_ configuration: String) throws(NetmapError) -> AnyModuleBox {
    ModuleBox(try Module(configuration: configuration))
  }
}
