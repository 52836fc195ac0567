// Production: the database of the specification, every zone.
using 'main.bicep'

param environmentName = 'prod'
param location = readEnvironmentVariable('AZURE_LOCATION')

param database = {
  skuName: 'Standard_D4ds_v5'
  skuTier: 'GeneralPurpose'
  storageSizeGB: 128
  highAvailability: 'ZoneRedundant'
  backupRetentionDays: 35
  geoRedundantBackup: 'Enabled'
  readReplica: false
  pgbouncerPoolSize: 100
}

param app = {
  plan: 'flex'
  instanceMemoryMB: 4096
  maximumInstances: 100
  alwaysReadyHttp: 2
  alwaysReadyDurable: 2
  httpConcurrency: 100
  zoneRedundant: true
}

param storageSku = 'Standard_GZRS'
param frontDoor = true
param logRetentionDays = 90

param identityProvider = {
  issuer: readEnvironmentVariable('OIDC_ISSUER')
  audience: readEnvironmentVariable('OIDC_AUDIENCE')
  bootstrapAdmins: filter(split(readEnvironmentVariable('BOOTSTRAP_ADMINS', ''), ','), subject => !empty(subject))
}
param functionKeyDigests = filter(split(readEnvironmentVariable('FUNCTION_KEY_SHA256S', ''), ','), digest => !empty(digest))
param webhookKeySecret = readEnvironmentVariable('WEBHOOK_KEY_SECRET', '')
param alertEmails = filter(split(readEnvironmentVariable('ALERT_EMAILS', ''), ','), address => !empty(address))
